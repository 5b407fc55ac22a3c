"""What the guests of one tenant may reach beside the engine and their own request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from realm.runtime.account import TenantAccount
from realm.runtime.guest_models import GuestModels
from realm.runtime.policy import Tool
from realm.runtime.state_store import StateStore
from realm.runtime.tenant_drafts import TenantDrafts
from realm.runtime.workers import Workers
from realm.session.constraint import ConstraintCompiler


@dataclass(frozen=True, slots=True)
class TenantServices:
    """drafts: what drafts for the tenant's sessions. tools: by name, all that the tenant may call.
    workers: for what ends by itself; tool_workers: for what may not.
    """

    account: TenantAccount
    state: StateStore
    guest_models: GuestModels
    constraints: ConstraintCompiler
    workers: Workers
    tool_workers: Workers
    tools: Mapping[str, Tool]
    drafts: TenantDrafts
    reads_tensors: bool = False
    priority: int = 0
