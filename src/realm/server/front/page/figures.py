"""Figures for the page: a tenant's own, and every tenant's for administrators.

Counters are totals since the engine process started, with the time they were read at; the page
makes rates of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from realm.errors import EngineUnavailableError, RequestError
from realm.server.front.engine_figures import (
    FIGURE_NAMES,
    TenantFigures,
    batch_fill,
    number,
    read_tenant,
    tenant_figures,
)
from realm.server.front.figures_reader import FiguresReader
from realm.server.front.identity import Identity
from realm.server.front.services import Services
from realm.server.wire.messages import Figures

_MOST_ROWS, _USUAL_ROWS = 1000, 100


class TenantView(msgspec.Struct, frozen=True):
    """One tenant's figures. running, queued: requests now."""

    running: int
    queued: int
    requests: int
    failures: int
    prompt_tokens: int
    completion_tokens: int
    drafted_tokens: int
    accepted_tokens: int
    guest_seconds: float
    traps: int
    limits_reached: int
    cache_bytes: int
    cache_pages: int


class OwnFigures(msgspec.Struct, frozen=True):
    """What a tenant may see: itself, and how full the steps are. at: seconds, monotonic."""

    at: float
    tenant_id: str
    batch_fill: float
    tenant: TenantView


class TenantRow(msgspec.Struct, frozen=True):
    """One tenant in the administrator's table."""

    tenant_id: str
    is_enabled: bool
    figures: TenantView


class AllFigures(msgspec.Struct, frozen=True):
    """What an administrator may see. tenants: the busiest of those that match. matching: how many
    do. engine: by name, as the engine process tells them; empty while it is away."""

    at: float
    is_ready: bool
    batch_fill: float
    tenant_count: int
    matching: int
    total: TenantView
    tenants: list[TenantRow]
    engine: dict[str, float]


class FigureHandlers:
    """Handlers of the two routes."""

    def __init__(self, services: Services, reader: FiguresReader) -> None:
        self._services = services
        self._reader = reader

    async def of_tenant(self, request: Request, identity: Identity) -> Response:
        """The tenant's own figures, and how full steps are. Raises EngineUnavailableError."""
        del request
        assert identity.tenant is not None
        figures, at = await self._reader.read()
        if figures is None:
            raise EngineUnavailableError("the engine is starting; its figures come soon")
        tenant_id = identity.tenant.tenant_id
        view = _view(tenant_figures(figures, tenant_id))
        return _json(OwnFigures(at, tenant_id, batch_fill(figures), view))

    async def of_all(self, request: Request, identity: Identity) -> Response:
        """Figures of all tenants, the busiest first, and of the engine.

        Query: `search`, a part of a tenant's id; `limit`, of rows. Raises RequestError.
        """
        del identity
        search = request.query_params.get("search", "")
        limit = _limit(request.query_params.get("limit"))
        figures, at = await self._reader.read()
        # Thousands of tenants take a while, and the event loop streams tokens meanwhile.
        return _json(await asyncio.to_thread(self._all, figures, at, search, limit))

    def _all(self, figures: Figures | None, at: float, search: str, limit: int) -> AllFigures:
        told = Figures(0, {}, {}) if figures is None else figures
        enabled = {each.tenant_id: each.is_enabled for each in self._services.directory.tenants()}
        # The engine may know tenants that nobody wrote down: the one of keys that are off.
        for tenant_id in told.tenants:
            enabled.setdefault(tenant_id, True)
        read = {tenant_id: read_tenant(told.tenants.get(tenant_id, {})) for tenant_id in enabled}
        names = [name for name in enabled if search.lower() in name.lower()]
        names.sort(key=lambda name: (_load(read[name]), name))
        rows = [TenantRow(name, enabled[name], _view(read[name])) for name in names[:limit]]
        return AllFigures(
            at,
            figures is not None and self._services.engine.is_ready,
            batch_fill(told),
            len(enabled),
            len(names),
            _view(_sum(list(read.values()))),
            rows,
            {name: number(value) for name, value in told.engine.items()},
        )


def _limit(text: str | None) -> int:
    if text is None:
        return _USUAL_ROWS
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and int(text) >= 1):
        raise RequestError("limit is not a number of rows")
    return min(int(text), _MOST_ROWS)


def _load(figures: TenantFigures) -> tuple[float, float]:
    """Sorts the busiest first."""
    return -(figures.live_guests + figures.queued_requests), -figures.completion_tokens


def _sum(tenants: Sequence[TenantFigures]) -> TenantFigures:
    return TenantFigures(*(sum(getattr(each, name) for each in tenants) for name in FIGURE_NAMES))


def _view(figures: TenantFigures) -> TenantView:
    return TenantView(
        running=int(figures.live_guests),
        queued=int(figures.queued_requests),
        requests=int(figures.requests),
        failures=int(figures.failures),
        prompt_tokens=int(figures.prompt_tokens),
        completion_tokens=int(figures.completion_tokens),
        drafted_tokens=int(figures.drafted),
        accepted_tokens=int(figures.accepted),
        guest_seconds=round(figures.guest_seconds, 3),
        traps=int(figures.traps),
        limits_reached=int(figures.limits_reached),
        cache_bytes=int(figures.cache_bytes),
        cache_pages=int(figures.cache_pages),
    )


def _json(answer: msgspec.Struct) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(msgspec.json.encode(answer), media_type="application/json", headers=headers)
