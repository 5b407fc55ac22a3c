"""A front with real tenants and keys, uploads on the disk, and an engine of the tests."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient
from tests.server.fakes import FakeEngine

from realm.server.definitions import Model
from realm.server.front.admission import Admission
from realm.server.front.app import make_app
from realm.server.front.directory import Directory
from realm.server.front.metrics import FrontMetrics
from realm.server.front.services import Services
from realm.server.pipelines import PipelineBook
from realm.server.settings import Settings
from realm.server.store import TenantStore


class AdminFront:
    """client: without a key. admin: headers of an admin key."""

    def __init__(
        self,
        store: TenantStore,
        client: TestClient,
        engine: FakeEngine,
        folder: Path,
        services: Services,
    ):
        self.store = store
        self.services = services
        self.client = client
        self.engine = engine
        self.folder = folder
        _, secret = store.create_key(None)
        self.admin = bearer(secret)

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, **what: Any):
        """By the admin, unless headers say otherwise."""
        return self.client.request(method, path, headers=headers or self.admin, **what)

    def tenant(self, tenant_id: str) -> dict[str, str]:
        """A new tenant with a key: its headers."""
        assert self.ask("PUT", f"/admin/tenants/{tenant_id}", json={}).status_code == 201
        made = self.ask("POST", f"/admin/tenants/{tenant_id}/keys", json={})
        return bearer(made.json()["key"])

    def contents(self) -> list[Path]:
        """Files and folders that were uploaded and are kept."""
        return sorted(self.folder.glob("items/everyone/*/*")) + sorted(
            self.folder.glob("items/tenants/*/*/*")
        )


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@contextmanager
def admin_front(folder: Path, **changes: Any) -> Iterator[AdminFront]:
    settings = Settings(
        data_directory=folder / "data", database_url=f"sqlite:///{folder / 'realm.db'}", **changes
    )
    with TenantStore(settings.database_url, busy_seconds=0.05) as store:
        directory = Directory(
            store,
            [Model("small", "/m/small.gguf")],
            keys_required=settings.keys_required is not False,
            wall_clock=lambda: 1e9,
        )
        clock = lambda: 5.0  # noqa: E731
        engine = FakeEngine()
        services = Services(
            settings=settings,
            directory=directory,
            admission=Admission(settings, clock),
            engine=engine,
            metrics=FrontMetrics(),
            pipelines=PipelineBook(None),
            now=clock,
        )
        front = AdminFront(
            store,
            TestClient(make_app(services), raise_server_exceptions=False),
            engine,
            settings.data_directory,
            services,
        )
        directory.refresh()
        yield front


def peft_zip(**files: bytes) -> bytes:
    """Of a folder with these files besides the two that are wanted; None leaves one out."""
    contents: dict[str, bytes | None] = {
        "adapter_config.json": b"{}",
        "adapter_model.safetensors": b"\x01" * 500,
    }
    contents.update(files)
    return zip_of({name: data for name, data in contents.items() if data is not None})


def zip_of(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()
