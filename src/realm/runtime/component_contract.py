"""The contract for components: a WIT world beside the table of host functions.

Each function of the world is one host function: numbers stay numbers, a text or a list becomes the
pointer and the length that the host function takes, and what it writes comes back as the result.
`guests/python/realm.wit` is the same world as text; a test holds the two together. It decides
whether a component fits; it never runs anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from realm.errors import GuestContractError
from realm.runtime.contract import HOST_FUNCTIONS

HOST_INSTANCE = "realm:guest/host@1.0.0"
HANDLE_NAME = "handle"
HANDLE_TYPE = "func(string) -> s32"
_MAGIC = b"\0asm\x0d\0\x01\0"  # binary format of components, layer 1
_NAME_LENGTH = 80

# What stands in WIT for each kind of parameter. 'ids' and 'words' are u32, little-endian, and count
# as such; 'structure' is one of the contract's C structures, or empty; 'room' is how many bytes
# the function may write.
_WIT = {
    "s32": "s32",
    "u32": "u32",
    "text": "string",
    "bytes": "list<u8>",
    "ids": "list<u8>",
    "structure": "list<u8>",
    "room": "u32",
}
_WIT_RESULTS = {
    "s32": "s32",
    "text": "option<string>",
    "bytes": "option<list<u8>>",
    "ids": "option<list<u8>>",
}


@dataclass(frozen=True, slots=True)
class ComponentFunction:
    """One function of the world.

    host: its place in HOST_FUNCTIONS, None when it is answered without the host. parameters: kinds.
    result: 's32' is the host function's own answer; of the others none stands for an error.
    """

    name: str
    host: int | None
    parameters: tuple[str, ...]
    result: str

    @property
    def type(self) -> str:
        """As components declare it."""
        inside = ", ".join(_WIT[kind] for kind in self.parameters)
        return f"func({inside}) -> {_WIT_RESULTS[self.result]}"


_PLACES = {function.name: place for place, function in enumerate(HOST_FUNCTIONS)}


def _function(name: str, host: str, parameters: str, result: str = "s32") -> ComponentFunction:
    place = _PLACES[f"realm_{host}"] if host else None
    return ComponentFunction(name, place, tuple(parameters.split()), result)


COMPONENT_FUNCTIONS: tuple[ComponentFunction, ...] = (
    _function("load-model", "host_load_model_by_name", "text"),
    _function("remove-model", "remove_model", "s32"),
    _function("set-adapter", "set_lora_adapter", "s32 text"),
    _function("metadata", "get_model_metadata", "s32", "text"),
    _function("encode", "encode_text", "s32 text u32", "ids"),
    _function("decode", "decode_tokens", "s32 ids", "bytes"),
    _function("render-chat", "render_chat", "s32 text", "text"),
    _function("open-session", "session_open", "s32"),
    _function("prefill", "session_prefill", "s32 ids"),
    _function("sample", "session_sample", "s32 structure", "ids"),
    _function("accept", "session_accept", "s32 ids"),
    _function("mask", "session_mask", "s32 ids"),
    _function("constrain", "session_constrain", "s32 s32 text"),
    _function("fork", "session_fork", "s32"),
    _function("rewind", "session_rewind", "s32 s32"),
    _function("position", "session_position", "s32"),
    _function("close-session", "session_close", "s32"),
    _function("generate", "host_generate", "s32 text structure", "text"),
    _function("send", "stream_token", "text"),
    _function("respond", "respond", "bytes"),
    _function("state-get", "state_get", "bytes", "bytes"),
    _function("state-put", "state_put", "bytes bytes"),
    _function("tool-call", "tool_call", "text bytes", "bytes"),
    _function("log", "log", "s32 text"),
    _function("now-ms", "now_ms", ""),
    _function("random", "random", "room", "bytes"),
    _function("last-error", "last_error", "", "text"),
    _function("last-code", "", ""),
)

# (instance or "", name, type as text), as they are read from a component.
ComponentDeclaration = tuple[str, str, str]


def is_component(wasm: bytes) -> bool:
    """Whether it says of itself that it is a component, not a module."""
    return wasm.startswith(_MAGIC)


def check_component(
    imports: Sequence[ComponentDeclaration], exports: Sequence[ComponentDeclaration]
) -> None:
    """Raises GuestContractError naming the first thing that does not fit the world."""
    for problem in component_problems(imports, exports):
        raise GuestContractError(problem)


def component_problems(
    imports: Sequence[ComponentDeclaration], exports: Sequence[ComponentDeclaration]
) -> Iterator[str]:
    """Everything that does not fit the world."""
    offered = {function.name: function.type for function in COMPONENT_FUNCTIONS}
    for instance, name, kind in imports:
        if not name and instance == HOST_INSTANCE and kind == "instance":
            continue
        where = f"import {_show(instance or name)}"
        if instance != HOST_INSTANCE:
            yield f"{where}: only {HOST_INSTANCE!r} is offered"
            continue
        where = f"{where}.{_show(name)}"
        if name not in offered:
            yield f"{where}: not offered by this version"
        elif kind != offered[name]:
            yield f"{where}: declared as {kind}, must be {offered[name]}"
    handles = [kind for instance, name, kind in exports if not instance and name == HANDLE_NAME]
    if not handles:
        yield f"export {HANDLE_NAME}: missing"
    elif handles[0] != HANDLE_TYPE:
        yield f"export {HANDLE_NAME}: must be {HANDLE_TYPE}"


def _show(name: str) -> str:
    """A component's name for something, fit for one line of a message."""
    shown = name if name.isprintable() else repr(name)[1:-1]
    return shown if len(shown) <= _NAME_LENGTH else f"{shown[:_NAME_LENGTH]}..."
