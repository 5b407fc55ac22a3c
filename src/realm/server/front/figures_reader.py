"""The engine's figures for all who look at them: asked for once, however many ask at a time."""

from __future__ import annotations

import asyncio

from realm.errors import RealmError
from realm.server.front.services import Services
from realm.server.wire.messages import Figures

FRESH_SECONDS = 0.5
"""Figures of a page that are no older are not asked for again."""


class FiguresReader:
    """For the event loop's thread. An engine that does not answer in `patience_seconds` is away."""

    def __init__(self, services: Services, patience_seconds: float = 2.0) -> None:
        self._services = services
        self._patience_seconds = patience_seconds
        self._asked: asyncio.Task[None] | None = None
        self._figures: Figures | None = None
        self._read_at = 0.0

    async def read(self, fresh_seconds: float = FRESH_SECONDS) -> tuple[Figures | None, float]:
        """The figures and when they were read, by `services.now`; None while the engine is away."""
        now = self._services.now()
        if self._figures is not None and now - self._read_at < fresh_seconds:
            return self._figures, self._read_at
        if self._asked is None or self._asked.done():
            self._asked = asyncio.create_task(self._ask())
            # Those who asked may have lost patience before it fails.
            self._asked.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            # One who goes away meanwhile does not take the answer from the others.
            await asyncio.wait_for(asyncio.shield(self._asked), self._patience_seconds)
        except (RealmError, TimeoutError):
            self._figures = None
            return None, now
        return self._figures, self._read_at

    async def _ask(self) -> None:
        self._figures = await self._services.engine.figures()
        self._read_at = self._services.now()
