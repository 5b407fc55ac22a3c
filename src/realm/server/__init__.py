"""The service around the runtime: HTTP and WebSocket in one process, the engine in another.

`front` talks to clients and keeps tenants, keys and quotas (`store`); `engine_process` runs the
RuntimeManager; they speak over a local socket (`wire`). Only `engine_process` imports the runtime.
"""
