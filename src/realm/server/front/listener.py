"""The socket that clients come to."""

from __future__ import annotations

import errno
import ipaddress
import socket

from realm.errors import ConfigError

_BACKLOG = 2048
_SEND_BYTES = 256 << 10
_KEEP_ALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


def open_listener(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises ConfigError, such as for a port that is taken.

    Peers that vanish without a word are noticed within about a minute. For one that does not read
    the kernel takes a quarter of a megabyte, not the several that it would.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"host: {host!r} is no address to listen on: {error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
        for name, value in _KEEP_ALIVE.items():
            if hasattr(socket, name):
                listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        reason = str(error.strerror)
        if error.errno == errno.EADDRINUSE:
            reason = "another program listens there; choose another port with --port"
        raise ConfigError(f"cannot listen on {shown_address(host, port)}: {reason}") from error
    return listener


def shown_address(host: str, port: int) -> str:
    """As it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
