"""How much one connection, and connections together, may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WebSocketLimits:
    """authentication_seconds: until a client has sent its key. idle_seconds: of a connection on
    which nothing runs and nothing comes. calls: at once on one connection. frame_characters: of
    one frame; the server's protocol limits its bytes. unauthenticated_connections: that wait for
    their client's key, of all clients. tenant_connections: of one tenant.
    """

    authentication_seconds: float = 10.0
    idle_seconds: float = 3600.0
    calls: int = 32
    frame_characters: int = 4 << 20
    unauthenticated_connections: int = 256
    tenant_connections: int = 1024
