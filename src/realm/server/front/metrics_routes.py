"""GET /metrics in Prometheus' format: for admin keys, or for all on a port of its own."""

from __future__ import annotations

import asyncio

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from realm.server.front.access import admin_route, open_route
from realm.server.front.figures_reader import FiguresReader
from realm.server.front.foreign_pages import is_from_foreign_page
from realm.server.front.identity import Identity
from realm.server.front.services import Services


def routes(services: Services) -> list[BaseRoute]:
    """`GET /metrics`, for admin keys."""
    scrape = _Scrape(services)

    async def metrics(request: Request, identity: Identity) -> Response:
        """All metrics in Prometheus' text format."""
        del request, identity
        return await scrape.answer()

    return [admin_route("/metrics", metrics, services=services)]


def metrics_app(services: Services) -> Starlette:
    """What listens at `settings.metrics_port`: `GET /metrics` without a key, and nothing else."""
    scrape = _Scrape(services)

    async def metrics(request: Request) -> Response:
        if is_from_foreign_page(request, services.settings.metrics_host):
            return Response(status_code=403)
        return await scrape.answer()

    return Starlette(routes=[open_route("/metrics", metrics)])


class _Scrape:
    def __init__(self, services: Services) -> None:
        self._metrics = services.metrics
        self._directory = services.directory
        self._reader = FiguresReader(services)

    async def answer(self) -> Response:
        """The metrics now, without the engine's while it is away. Rendered beside the event loop,
        which streams tokens."""
        figures, _ = await self._reader.read()
        if figures is not None:  # the engine knows one that no directory has: that of no keys
            known = {tenant.tenant_id for tenant in self._directory.tenants()}
            self._metrics.keep_tenants(known | figures.tenants.keys())
        body = await asyncio.to_thread(self._metrics.render, figures)
        return Response(body, media_type=CONTENT_TYPE_LATEST)
