"""The page on a real socket, with an engine that answers when the test says so."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from tests.server.fakes import FakeEngine, FakeGeneration

from realm.errors import EngineUnavailableError, ModelNotFoundError, UnauthorizedError
from realm.server.definitions import Model, Tenant
from realm.server.front import metrics_routes, openai
from realm.server.front.admission import Admission
from realm.server.front.app import app_of
from realm.server.front.engine_port import GenerateCall
from realm.server.front.identity import Identity
from realm.server.front.metrics import FrontMetrics
from realm.server.front.page import routes as page_routes
from realm.server.front.services import Services
from realm.server.settings import Settings
from realm.server.wire.messages import Figures

KEY, ADMIN_KEY = "realm_abcdef0123_acme-secret-acme-secret", "realm_fedcba3210_admin-secret-secret"


class FiguresEngine(FakeEngine):
    """See FakeEngine. now: the figures; None while the engine is away. cancelled: set once a
    generation was."""

    def __init__(self, text: str = "The capital of France is Paris.") -> None:
        super().__init__(text)
        self.now: Figures | None = Figures(0, {}, {})
        self.asked = 0
        self.cancelled = threading.Event()

    def generate(self, call: GenerateCall) -> FakeGeneration:
        generation = super().generate(call)
        cancel = generation.cancel

        def noted() -> None:
            cancel()
            self.cancelled.set()

        generation.cancel = noted
        return generation

    async def figures(self) -> Figures:
        self.asked += 1
        if self.now is None:
            raise EngineUnavailableError("the engine is starting")
        return self.now


@dataclass(frozen=True)
class Choice:
    """See the directory's ModelChoice."""

    model: Model
    adapter: str | None


@dataclass
class FakeDirectory:
    """Knows KEY (unless keys are off) and ADMIN_KEY."""

    known: list[Tenant] = field(default_factory=lambda: [Tenant("acme")])
    keys_required: bool = True
    names: list[str] = field(default_factory=lambda: ["smollm2"])

    def tenants(self) -> list[Tenant]:
        return list(self.known)

    def model_names(self, tenant: Tenant) -> list[str]:
        return self.names

    def resolve_model(self, tenant: Tenant, name: str) -> Choice:
        if name not in self.names:
            raise ModelNotFoundError("there is no such model")
        model, _, adapter = name.partition(":")
        return Choice(Model(model, "/nowhere.gguf"), adapter or None)

    def authenticate(self, header: str | None) -> Identity:
        if header == f"Bearer {ADMIN_KEY}":
            return Identity(None, "admin")
        if header == f"Bearer {KEY}" or (header is None and not self.keys_required):
            return Identity(self.known[0], "realm_abcdef")
        raise UnauthorizedError("no valid key")


def make_services(engine: FakeEngine, directory: FakeDirectory, **other: Any) -> Services:
    """Services with real quotas and metrics, and no pipelines."""
    settings = Settings(data_directory=Path("/nowhere"), database_url="sqlite://")
    nothing: Any = None
    now = other.get("now", time.monotonic)
    values: dict[str, Any] = {
        "settings": settings,
        "admission": Admission(settings, now),
        "pipelines": nothing,
        "metrics": FrontMetrics(),
        "now": now,
        **other,
    }
    return Services(directory=directory, engine=engine, **values)


def make_page_app(services: Services) -> Starlette:
    """The page's routes and /metrics, with those of the API that the page asks."""
    routes = [
        *openai.routes(services),
        *metrics_routes.routes(services),
        *page_routes.routes(services),
    ]
    return app_of(services, routes)


class PageServer:
    """Serves an application on a free port of 127.0.0.1 while it is entered."""

    def __init__(self, app: Starlette) -> None:
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> PageServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        self._socket.close()
        assert not self._thread.is_alive()

    def call(self, action: Any, *arguments: Any) -> None:
        """Calls it on the server's event loop."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(action, *arguments)

    def _run(self) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            await self._server.serve(sockets=[self._socket])

        asyncio.run(serve())
