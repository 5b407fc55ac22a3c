"""What an operator lets a tenant do. Plain data; it holds from the tenant's next request on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from realm.errors import ConfigError
from realm.runtime.limits import GuestLimits, TenantLimits


@dataclass(frozen=True, slots=True)
class Tool:
    """A function of the host that a program may call by name.

    call: gets the arguments' bytes and gives bytes or text, on a thread of its own. What it raises
    becomes REALM_E_TOOL; the program reads the words of a ToolError and of nothing else.
    seconds: wall time from the call; a tool that takes longer goes on, but nobody waits for it.
    result_bytes: most that it may give.
    """

    call: Callable[[bytes], bytes | str]
    seconds: float = 30.0
    result_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and self.result_bytes > 0):
            raise ConfigError("a tool's seconds and result_bytes must be > 0")


@dataclass(frozen=True, slots=True)
class TenantPolicy:
    """program: the tenant's own WASM module; None takes the manager's.

    guest_limits, limits: of each request, and of all of them together; guest_limits None takes the
    manager's. priority: higher ones get pages, prompt rows and guest slots first. weight: share
    against others that want as much. tools: by the name that programs use. reads_tensors: whether
    realm_get_tensor gives weights out. programs: further ones, by the names that requests take;
    each is compiled when it is first asked for.
    """

    program: bytes | None = None
    guest_limits: GuestLimits | None = None
    limits: TenantLimits = field(default_factory=TenantLimits)
    priority: int = 0
    weight: float = 1.0
    tools: Mapping[str, Tool] = field(default_factory=dict)
    reads_tensors: bool = False
    programs: Mapping[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0.0 < self.weight < float("inf"):
            raise ConfigError(f"weight must be a number > 0, not {self.weight}")
