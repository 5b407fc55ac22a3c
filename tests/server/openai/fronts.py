"""A front for tests: made of real admission and metrics, a fake engine and a small directory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from tests.server.fakes import FakeEngine

from realm.errors import AdapterNotFoundError, ModelNotFoundError, UnauthorizedError
from realm.server.definitions import Limits, Model, Tenant
from realm.server.front import health, openai
from realm.server.front.admission import Admission
from realm.server.front.app import app_of
from realm.server.front.identity import Identity
from realm.server.front.metrics import FrontMetrics
from realm.server.front.services import Services
from realm.server.settings import Settings

KEY = "realm_tenant_0123456789abcdef"
ADMIN_KEY = "realm_admin_0123456789abcdef"
HEADERS = {"authorization": f"Bearer {KEY}"}


@dataclass(frozen=True)
class Choice:
    model: Model
    adapter: str | None


class SmallDirectory:
    """One tenant and one admin key; the models "tiny" and "other", of which the tenant may use
    the first, and the adapter "french"."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant_here = tenant

    def authenticate(self, header: str | None) -> Identity:
        if header == f"Bearer {KEY}":
            return Identity(self.tenant_here, KEY[:10])
        if header == f"Bearer {ADMIN_KEY}":
            return Identity(None, ADMIN_KEY[:10])
        raise UnauthorizedError("this key opens nothing")

    def resolve_model(self, tenant: Tenant, name: str) -> Choice:
        model, colon, adapter = name.partition(":")
        if model != "tiny":
            raise ModelNotFoundError(f"there is no model {model!r}")
        if colon and adapter not in ("french", "formal"):
            raise AdapterNotFoundError(f"there is no adapter {adapter!r}")
        return Choice(Model("tiny", "/somewhere/tiny.gguf"), adapter or None)

    def model_names(self, tenant: Tenant) -> list[str]:
        return ["tiny", "tiny:french", "tiny:formal"]

    def tenants(self) -> list[Tenant]:
        return [self.tenant_here]


def make_services(engine: FakeEngine, *, tenant: Tenant | None = None, **settings) -> Services:
    made = Settings(data_directory=Path("/nowhere"), database_url="sqlite://", **settings)
    directory = SmallDirectory(tenant or Tenant("acme", limits=Limits(max_tokens=1000)))
    admission = Admission(made, monotonic)
    return Services(made, directory, admission, engine, FrontMetrics(), None, monotonic)


def make_front(
    engine: FakeEngine, more: Sequence[BaseRoute] = (), *, tenant: Tenant | None = None, **settings
) -> Starlette:
    services = make_services(engine, tenant=tenant, **settings)
    return app_of(services, [*health.routes(services), *openai.routes(services), *more])


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """The application behind uvicorn on a thread of its own; gives its address."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", http="httptools")
    server = uvicorn.Server(config)
    listening = config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
