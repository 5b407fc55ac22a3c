"""The WebSocket protocol: calls over one connection, each answered under its id."""

from realm.server.front.websocket.routes import routes

__all__ = ["routes"]
