"""What guests may use of the machine. Plain data: the native layer and `guest_state` enforce it."""

from __future__ import annotations

from dataclasses import dataclass, fields

from realm.errors import ConfigError

_PAGE_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class GuestLimits:
    """Limits of one request's guest.

    memory_bytes: linear memory, in whole WASM pages.
    slice_ticks: ticks of the host's clock (1 ms each) of processor time after which a burst yields.
    compute_seconds: processor time of the guest's own code.
    wall_seconds: time from its start to its end, waiting included.
    sessions, models: open handles of each kind.
    tokens: taken by its sessions: prefilled, accepted, sampled, and rows of single layers.
    text_bytes: text that is encoded, rendered or decoded by one call.
    output_bytes: streamed text; response_bytes: the final response.
    log_bytes: text logged; random_bytes: most bytes of one realm_random.
    """

    memory_bytes: int = 64 << 20
    slice_ticks: int = 1
    compute_seconds: float = 30.0
    wall_seconds: float = 900.0
    sessions: int = 16
    models: int = 16
    tokens: int = 1 << 20
    text_bytes: int = 1 << 20
    output_bytes: int = 4 << 20
    response_bytes: int = 4 << 20
    log_bytes: int = 16 << 10
    random_bytes: int = 64 << 10

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ConfigError(f"{field.name} must be > 0, not {getattr(self, field.name)}")
        if self.memory_bytes % _PAGE_BYTES:
            raise ConfigError(f"memory_bytes must be whole pages of {_PAGE_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class TenantLimits:
    """Limits of one tenant, over all of its requests at once.

    requests: guests alive at once; further requests wait. By default a quarter of a host's guests,
        so that one tenant alone never keeps the others waiting.
    memory_bytes: linear memory of its guests.
    cache_bytes: cache pages of its guests' sessions, shared ones counted for each that has them.
    model_bytes: GGUF bytes that its guests hold stored.
    state_entries, state_bytes: keys, and keys with values, kept from request to request.
    state_key_bytes: one key.
    tools: tool calls that run at once; further calls wait.
    """

    requests: int = 64
    memory_bytes: int = 1 << 30
    cache_bytes: int = 1 << 40
    model_bytes: int = 256 << 20
    state_entries: int = 1024
    state_bytes: int = 1 << 20
    state_key_bytes: int = 256
    tools: int = 2

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ConfigError(f"{field.name} must be > 0, not {getattr(self, field.name)}")


@dataclass(frozen=True, slots=True)
class HostLimits:
    """What the pool of guests reserves; address space only, memory is used as guests touch it.

    guest_count: most guests alive at once; further requests wait.
    all_memory_bytes: linear memory of all guests; while they have as much, further requests wait.
    memory_bytes, table_elements: most of one guest, whatever its own limits say.
    stack_bytes: native stack of a guest's own code.
    tick_microseconds: period of the clock that interrupts computing guests.
    program_bytes: largest module that is compiled.
    compile_seconds: processor time for compiling one module; by the clock, three times as much.
    compile_memory_bytes: address space that compiling one module may take.
    compile_workers: modules that are compiled at once, each in a process of its own.
    worker_threads: for loading models and compiling constraints; one tenant has half at most.
    tool_threads: for tools.
    components: most component guests alive at once, a thread each; further ones wait. 0: components
        are refused.
    component_bytes, component_compile_seconds, component_compile_memory_bytes: as program_bytes and
        the others, for components, which bring an interpreter.
    """

    guest_count: int = 256
    all_memory_bytes: int = 4 << 30
    memory_bytes: int = 64 << 20
    table_elements: int = 16 << 10
    stack_bytes: int = 256 << 10
    tick_microseconds: int = 1000
    program_bytes: int = 16 << 20
    worker_threads: int = 2
    tool_threads: int = 16
    compile_seconds: float = 10.0
    compile_memory_bytes: int = 512 << 20
    compile_workers: int = 2
    components: int = 0
    component_bytes: int = 48 << 20
    component_compile_seconds: float = 120.0
    component_compile_memory_bytes: int = 2 << 30
