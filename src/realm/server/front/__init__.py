"""What clients talk to: HTTP, WebSocket, authentication, quotas. It never imports the runtime."""
