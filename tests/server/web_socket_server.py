"""The routes of WebSockets and pipelines with an engine that tests command, on a socket or none."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from tests.server.fakes import FakeEngine

from realm.errors import (
    AdapterNotFoundError,
    ModelNotFoundError,
    RequestError,
    UnauthorizedError,
)
from realm.server.definitions import Model, Tenant
from realm.server.front.admission import Admission
from realm.server.front.app import app_of
from realm.server.front.connection import bounded_protocols
from realm.server.front.identity import Identity
from realm.server.front.metrics import FrontMetrics
from realm.server.front.pipelines_routes import routes as pipelines_routes
from realm.server.front.services import Services
from realm.server.front.websocket import routes as web_socket_routes
from realm.server.front.websocket.limits import WebSocketLimits
from realm.server.pipelines import PipelineBook
from realm.server.settings import Settings

ACME_KEY = "realm_acme01_secret-of-acme-secret-of-acme"
GLOBEX_KEY = "realm_globex_secret-of-globex-secret-of-gl"
ADMIN_KEY = "realm_admin1_secret-of-the-administrator"
ACME, GLOBEX = Tenant("acme"), Tenant("globex")


@dataclass(frozen=True)
class Choice:
    model: Model
    adapter: str | None


@dataclass
class KnownDirectory:
    """Knows the keys above; with keys_required off, a request without one is tenant `default`'s.
    adapters: what there is for everyone."""

    keys_required: bool = False
    keys: dict[str, Tenant | None] = field(
        default_factory=lambda: {ACME_KEY: ACME, GLOBEX_KEY: GLOBEX, ADMIN_KEY: None}
    )
    models: tuple[Model, ...] = (Model("small", "/models/small.gguf"), Model("large", "/l.gguf"))
    adapters: tuple[str, ...] = ("pirate",)
    default: Tenant = field(default_factory=lambda: Tenant("default"))

    def tenants(self) -> list[Tenant]:
        return [self.default, *(each for each in self.keys.values() if each is not None)]

    def tenant(self, tenant_id: str) -> Tenant:
        for each in self.tenants():
            if each.tenant_id == tenant_id:
                return each
        raise RequestError("no such tenant")

    def authenticate(self, header: str | None) -> Identity:
        if header is None:
            if self.keys_required:
                raise UnauthorizedError("a key is wanted")
            return Identity(self.default, None)
        scheme, _, key = header.partition(" ")
        if scheme != "Bearer":
            raise UnauthorizedError("Bearer and a key are wanted")
        return self.authenticate_key(key)

    def authenticate_key(self, key: str) -> Identity:
        if key not in self.keys:
            raise UnauthorizedError("this key does not open anything")
        return Identity(self.keys[key], key[:12])

    def resolve_model(self, tenant: Tenant, name: str) -> Choice:
        model_name, _, adapter = name.partition(":")
        for model in self.models:
            if model.name == model_name and (tenant.models is None or model.name in tenant.models):
                if adapter and adapter not in self.adapters:
                    raise AdapterNotFoundError(f"there is no adapter {adapter!r}")
                return Choice(model, adapter or None)
        raise ModelNotFoundError(f"there is no model {model_name!r}")

    def model_names(self, tenant: Tenant) -> list[str]:
        return [
            model.name
            for model in self.models
            if tenant.models is None or model.name in tenant.models
        ]


def make_services(
    engine: FakeEngine,
    directory: KnownDirectory | None = None,
    pipelines: Path | None = None,
    **settings: Any,
) -> Services:
    """Services as the server has them, but for engine and directory."""
    settings = {"host": "testserver"} | settings
    chosen = Settings(data_directory=Path(), database_url="sqlite://", **settings)
    known: Any = directory or KnownDirectory()
    return Services(
        settings=chosen,
        directory=known,
        admission=Admission(chosen, time.monotonic),
        engine=engine,
        metrics=FrontMetrics(),
        pipelines=PipelineBook(pipelines),
        now=time.monotonic,
    )


def make_socket_app(services: Services, limits: WebSocketLimits | None = None) -> Starlette:
    """The routes of WebSockets and pipelines, with what stands around all routes."""
    return app_of(services, [*web_socket_routes(services, limits), *pipelines_routes(services)])


@contextmanager
def serving(services: Services, limits: WebSocketLimits | None = None) -> Iterator[int]:
    """The app on a real socket of this machine, in a thread of its own; the port."""
    http, web_socket = bounded_protocols(services.settings)
    config = uvicorn.Config(
        make_socket_app(services, limits),
        host="127.0.0.1",
        port=0,
        http=http,
        ws=web_socket,
        ws_max_size=1 << 20,
        log_config=None,
        lifespan="off",
    )
    server = uvicorn.Server(config)
    listening = config.bind_socket()
    started = threading.Event()
    startup = server.startup

    async def tell_started(sockets: Any = None) -> None:
        await startup(sockets)
        started.set()

    server.startup = tell_started  # type: ignore[method-assign]
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve([listening])), name="test-server"
    )
    thread.start()
    try:
        assert started.wait(20)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
        listening.close()
