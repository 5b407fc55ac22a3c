"""What a tenant leaves behind, forgotten: requests, adapters, state, registration and texts.

The record and the runtimes are the manager's own to drop. What is shared by content, models and
compiled programs, stays.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

from realm.errors import AdapterNotFoundError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from realm.runtime.tenant import RuntimeParts
    from realm.runtime.tenant_record import TenantRecord
    from realm.runtime.tenant_registry import TenantRegistry


def forget_tenant(
    record: TenantRecord, parts: RuntimeParts, registry: TenantRegistry | None
) -> None:
    """Ends the requests of a tenant whose account is removed, then forgets what it has.

    For any thread but the engine's and the workers' own; returns when it is done. Raises
    StateStoreError, and RequestError when the runtime is closed meanwhile: then some of it is left,
    and the same call goes on.
    """
    tenant_id = record.tenant_id
    _on_engine_thread(parts, partial(_end, record, parts))
    # A program that has ended may still be writing, on a worker's thread.
    parts.workers.wait_for(tenant_id)
    for adapter in parts.lora.list(tenant_id):
        if adapter.tenant == tenant_id:
            with contextlib.suppress(AdapterNotFoundError):  # someone was faster
                parts.lora.unload(adapter.name, tenant_id)
    parts.state.forget(tenant_id)
    if registry is not None:
        registry.forget(tenant_id)
    _on_engine_thread(parts, partial(parts.engine.forget_owner, tenant_id))


def _on_engine_thread(parts: RuntimeParts, action: Callable[[], None]) -> None:
    if not parts.loop.run(action):
        raise RequestError("the runtime is closed")


def _end(record: TenantRecord, parts: RuntimeParts) -> None:
    parts.loop.end_all(record.account)
    record.drafts.let_go()
