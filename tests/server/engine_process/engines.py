"""A service in this process with a client at the other end of a socket."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from realm.runtime import RuntimeManager
from realm.server.definitions import Item, Model, Tenant
from realm.server.engine_process.front_connection import FrontConnection
from realm.server.front.engine_client import EngineClient
from realm.server.front.engine_port import GenerateCall


@asynccontextmanager
async def served(
    manager: RuntimeManager, model: Path, tenants: Sequence[Tenant] = (), **items: Sequence[Item]
) -> AsyncIterator[EngineClient]:
    """The client, once the engine knows the model as "tiny"; tenant "a" where none is given."""
    async with connected(manager) as client:
        known = tenants or (Tenant("a"),)
        await client.configure(models=[Model("tiny", str(model))], tenants=known, **items)
        yield client


@asynccontextmanager
async def connected(manager: RuntimeManager) -> AsyncIterator[EngineClient]:
    """The client of an engine that knows nothing yet."""
    ours, theirs = socket.socketpair()
    events: SimpleQueue[str] = SimpleQueue()
    front = FrontConnection(theirs, manager, [], events.put)
    client = await EngineClient.connect(ours)
    try:
        yield client
    finally:
        await client.close()
        while (event := events.get(timeout=30)) == "configured":
            pass
        assert event == "lost"
        front.service.cancel_all()
        front.service.finish()
        front.service.close()
        theirs.close()


def call(tenant_id: str = "a", **fields: Any) -> GenerateCall:
    """Options may stand among the fields."""
    known = set(GenerateCall.__slots__)
    options = {name: fields.pop(name) for name in list(fields) if name not in known}
    fields.setdefault("model", "tiny")
    fields.setdefault("options", options)
    if not {"messages", "token_ids"} & set(fields):
        fields.setdefault("prompt", "Once upon")
    return GenerateCall(tenant_id, **fields)


def item(name: str, path: Path, tenant_id: str | None = None, digest: str = "00") -> Item:
    return Item(name, tenant_id, digest, 1, str(path))
