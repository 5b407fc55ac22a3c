"""The page's files, and the figures that it shows.

The files are read once and named one by one: no path of a request ever reaches the file system.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from realm.server.front.access import admin_route, open_route, tenant_route
from realm.server.front.figures_reader import FiguresReader
from realm.server.front.page.figures import FigureHandlers
from realm.server.front.services import Services

_STATIC = Path(__file__).parent / "static"
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for "
    "'script'"
)


def routes(services: Services) -> list[BaseRoute]:
    """`/` and `/page/...`, open to all; `/v1/figures` for tenants; `/admin/figures`."""
    figures = FigureHandlers(services, FiguresReader(services))
    files = [
        _file_route("/" if path.name == "index.html" else f"/page/{path.name}", path)
        for path in sorted(_STATIC.iterdir())
        if path.suffix in _KINDS
    ]
    return [
        *files,
        tenant_route("/v1/figures", figures.of_tenant, services=services),
        admin_route("/admin/figures", figures.of_all, services=services),
    ]


def _file_route(path: str, file: Path) -> BaseRoute:
    content = file.read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {
        "content-type": _KINDS[file.suffix],
        "cache-control": "no-cache",
        "etag": tag,
        "content-security-policy": _POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
    }

    async def answer(request: Request) -> Response:
        """A file of the page."""
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers)

    return open_route(path, answer, methods=("GET", "HEAD"))
