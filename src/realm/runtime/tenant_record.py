"""What a manager keeps of one tenant: policy, account, allowed models, compiled program."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from realm.config import ModelConfig
from realm.errors import ProgramNotFoundError, RequestError
from realm.runtime.account import TenantAccount
from realm.runtime.hosted_model import HostedModel
from realm.runtime.policy import TenantPolicy
from realm.runtime.tenant_drafts import TenantDrafts

if TYPE_CHECKING:
    from realm.runtime.program import GuestProgram


class TenantRecord:
    """Any thread may use it. models: what the tenant's programs may load, by name.
    drafts: what drafts for its sessions.

    model_configs: those that it has had a runtime on, by name; registered, loaded or not.
    adapter: the name of what its requests take when they name none.
    last_used: seconds of the manager's clock. compile: the program of these bytes, or the
    manager's own for None.
    """

    def __init__(
        self,
        tenant_id: str,
        policy: TenantPolicy,
        compile_program: Callable[[bytes | None], GuestProgram],
        now: float,
    ) -> None:
        self.tenant_id = tenant_id
        self.account = TenantAccount(tenant_id, policy.limits)
        self.models: dict[str, HostedModel] = {}
        self.drafts = TenantDrafts()
        self.last_used = now
        self.adapter: str | None = None
        self.model_configs: dict[str, ModelConfig] = {}
        self._policy = policy
        self._compile = compile_program
        self._lock = threading.Lock()
        self._program: GuestProgram | None = None
        self._named: dict[str, GuestProgram] = {}

    @property
    def policy(self) -> TenantPolicy:
        """What holds for requests from now on."""
        return self._policy

    def require_present(self) -> None:
        """Raises RequestError once the tenant was removed."""
        if self.account.is_removed:
            raise RequestError(f"tenant {self.tenant_id!r} was removed")

    def program(self, name: str | None = None) -> GuestProgram:
        """The tenant's program, or its program of this name, compiled when it is first needed.

        Raises GuestError's kinds, ProgramNotFoundError.
        """
        if name is not None:
            return self._named.get(name) or self._compile_named(name)
        program = self._program
        if program is None:
            with self._lock:
                if self._program is None:
                    self._program = self._compile(self._policy.program)
                program = self._program
        return program

    def is_compiled(self, name: str | None = None) -> bool:
        """Whether `program` has it at hand."""
        return self._program is not None if name is None else name in self._named

    def set_policy(self, policy: TenantPolicy) -> None:
        """Raises GuestError's kinds for its program; then nothing has changed."""
        with self._lock:
            program = None if policy.program is None else self._compile(policy.program)
            before = self._policy.programs
            self._named = {
                name: compiled
                for name, compiled in self._named.items()
                if policy.programs.get(name) == before[name]
            }
            self._policy = policy
            self._program = program
            self.account.limits = policy.limits

    def let_go(self) -> None:
        """Keeps no more of an idle tenant than it takes to serve it again."""
        with self._lock:
            self._program = None
            self._named = {}

    def _compile_named(self, name: str) -> GuestProgram:
        wasm = self._policy.programs.get(name)
        if wasm is None:
            raise ProgramNotFoundError(f"tenant {self.tenant_id!r} has no program {name!r}")
        program = self._compile(wasm)  # not under the lock: others of the tenant go on
        with self._lock:
            if self._policy.programs.get(name) == wasm:
                self._named[name] = program
        return program
