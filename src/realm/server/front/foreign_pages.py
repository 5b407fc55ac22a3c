"""Pages of other sites in a browser, which nothing else keeps out where no key is asked for.

Browsers let any page open WebSockets and send simple requests wherever it likes, and say in
`Origin` whose it is (RFC 6455, section 10.2). A site whose own name is made to mean this
machine passes for the same origin; so a server that only this machine can reach must be called by
a name of this machine too. Clients that are no browsers send no Origin.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from realm.server.front.listener import is_loopback

_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{1,5})?")
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def is_from_foreign_page(connection: HTTPConnection, own_host: str) -> bool:
    """Whether a page of another origin may be behind the request. own_host: that is listened on."""
    headers = connection.headers
    hosts = headers.getlist("host")
    if is_loopback(own_host) and not all(_is_local(host, own_host) for host in hosts):
        return True
    host = hosts[0] if len(hosts) == 1 else ""
    scheme = connection.scope.get("scheme", "http")
    return any(not _is_origin_of(each, host, scheme) for each in headers.getlist("origin"))


def _is_local(host: str, own_host: str) -> bool:
    """Whether a `Host` names this machine: by its address, or by a name that nobody can own."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = (found[1] or found[2].rstrip(".")).lower()
    return name == own_host.lower() or is_loopback(name) or name.endswith(".localhost")


def _is_origin_of(origin: str, host: str, scheme: str) -> bool:
    try:
        page, here = urlsplit(origin), urlsplit(f"//{host}")
        page_port = page.port or _DEFAULT_PORTS.get(page.scheme)
        here_port = here.port or _DEFAULT_PORTS.get(scheme)
    except ValueError:
        return False
    return page.hostname is not None and (page.hostname, page_port) == (here.hostname, here_port)
