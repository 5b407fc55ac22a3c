"""The process that has the models: told by the front what to do over a local socket.

`__main__` starts it, `service` does what messages ask, `tenancy` knows tenants and their items,
`answer_writer` sends what came of it. It knows no keys and speaks no HTTP.
"""
