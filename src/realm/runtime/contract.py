"""The contract between a guest and the host, as one table.

The link check, the dispatch, the documentation and the SDK header's test all read this table. It
decides whether a program's imports and exports fit; it never runs anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from realm.errors import GuestContractError

ABI_VERSION = 1
IMPORT_MODULE = "env"
_NAME_LENGTH = 80


class ErrorCode(IntEnum):
    """What a host function returns, negated, when it fails. The numbers never change."""

    INVALID = 1
    POINTER = 2
    BUFFER = 3
    HANDLE = 4
    NOT_FOUND = 5
    CONTEXT = 6
    CAPACITY = 7
    UTF8 = 8
    JSON = 9
    LIMIT = 10
    STATE = 11
    TEMPLATE = 12
    TOKENIZER = 13
    MODEL = 14
    INTERNAL = 15
    CONSTRAINT = 16
    TOOL = 17
    TIME = 18
    DENIED = 19
    ADAPTER = 20

    @property
    def symbol(self) -> str:
        """The code's name in every SDK."""
        return f"REALM_E_{self.name}"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a host function.

    kind: 'pointer' and 'length' are as wide as the guest's addresses and never negative; 'i32' is
        signed, 'u32' is not.
    """

    name: str
    kind: str

    @property
    def letters(self) -> str:
        """The WASM types that may stand for it (i, I: i32, i64)."""
        return "iI" if self.kind in ("pointer", "length") else "i"


@dataclass(frozen=True, slots=True)
class HostFunction:
    """One function of module `env`; its result is always one i32."""

    name: str
    parameters: tuple[Parameter, ...]

    @property
    def signedness(self) -> str:
        """One letter a parameter: u for an unsigned reading, s for a signed one."""
        return "".join("s" if parameter.kind == "i32" else "u" for parameter in self.parameters)

    def describe(self) -> str:
        """The signature as text, for messages."""
        inside = ", ".join(f"{parameter.name}: {parameter.kind}" for parameter in self.parameters)
        return f"{self.name}({inside}) -> i32"


def _function(name: str, parameters: str = "") -> HostFunction:
    rows = []
    for word in parameters.split():
        parameter, _, kind = word.partition(":")
        if not kind:
            kind = "pointer" if parameter.endswith("_ptr") else "length"
        rows.append(Parameter(parameter, kind))
    return HostFunction(name, tuple(rows))


# A parameter without a kind is a pointer when its name ends so, else a length.
HOST_FUNCTIONS: tuple[HostFunction, ...] = (
    _function("realm_store_model", "gguf_ptr gguf_len model_id:i32"),
    _function("realm_store_draft_model", "gguf_ptr gguf_len draft_model_id:i32"),
    _function("realm_host_load_model_by_name", "name_ptr name_len"),
    _function("realm_remove_model", "model_id:i32"),
    _function("realm_set_lora_adapter", "model_id:i32 adapter_id_ptr adapter_id_len"),
    _function("realm_get_model_info", "model_id:i32 out_tensor_count_ptr out_total_size_ptr"),
    _function("realm_get_model_metadata", "model_id:i32 out_ptr out_max_len"),
    _function("realm_get_tensor", "model_id:i32 name_ptr name_len out_ptr out_max_len"),
    _function("realm_encode_tokens", "model_id:i32 text_ptr text_len out_ptr out_max_len"),
    _function("realm_encode_text", "model_id:i32 text_ptr text_len flags:u32 out_ptr out_max_len"),
    _function(
        "realm_decode_tokens", "model_id:i32 token_ids_ptr token_ids_len out_ptr out_max_len"
    ),
    _function(
        "realm_render_chat", "model_id:i32 messages_json_ptr messages_json_len out_ptr out_max_len"
    ),
    _function("realm_embed_tokens", "model_id:i32 token_ids_ptr token_count out_ptr"),
    _function(
        "realm_forward_layer",
        "model_id:i32 layer_idx:i32 hidden_states_ptr hidden_states_len position:i32 out_ptr",
    ),
    _function("realm_compute_logits", "model_id:i32 hidden_states_ptr hidden_size out_ptr"),
    _function("realm_session_open", "model_id:i32"),
    _function("realm_session_prefill", "session:i32 ids_ptr count"),
    _function("realm_session_sample", "session:i32 params_ptr out_ptr out_max_len"),
    _function("realm_session_logits", "session:i32 out_ptr out_max_len"),
    _function("realm_session_accept", "session:i32 ids_ptr count"),
    _function("realm_session_mask", "session:i32 mask_ptr mask_len"),
    _function("realm_session_constrain", "session:i32 kind:i32 source_ptr source_len"),
    _function("realm_session_fork", "session:i32"),
    _function("realm_session_rewind", "session:i32 position:i32"),
    _function("realm_session_position", "session:i32"),
    _function("realm_session_close", "session:i32"),
    _function(
        "realm_host_generate",
        "model_id:i32 prompt_ptr prompt_len options_ptr out_ptr out_max_len",
    ),
    _function("realm_stream_token", "token_ptr token_len"),
    _function("realm_respond", "response_ptr response_len"),
    _function("realm_state_get", "key_ptr key_len out_ptr out_max_len"),
    _function("realm_state_put", "key_ptr key_len value_ptr value_len"),
    _function(
        "realm_tool_call",
        "name_ptr name_len arguments_ptr arguments_len out_ptr out_max_len",
    ),
    _function("realm_last_error", "out_ptr out_max_len"),
    _function("realm_last_size"),
    _function("realm_log", "level:i32 text_ptr text_len"),
    _function("realm_now_ms"),
    _function("realm_random", "out_ptr out_len"),
)

# name -> (parameters, results), with p for a value as wide as the guest's addresses.
GUEST_EXPORTS: tuple[tuple[str, str, str], ...] = (
    ("realm_abi_version", "", "i"),
    ("realm_alloc", "p", "p"),
    ("realm_free", "pp", ""),
    ("realm_handle", "pp", "i"),
)

# What a program of the older form exports instead: generate(prompt_ptr, prompt_len, model_id,
# options_ptr) gives the address of its text, which ends in a zero byte.
OLDER_EXPORTS: tuple[tuple[str, str, str], ...] = (
    ("realm_alloc", "p", "p"),
    ("generate", "ppip", "p"),
)

# (module, name, kind, parameters, results), as the native layer reads them from a module.
Declaration = tuple[str, str, str, str, str]


def function_numbers(imports: Sequence[Declaration]) -> list[int]:
    """The host function for each import, as places in HOST_FUNCTIONS.

    Raises GuestContractError naming the first import that the contract does not have, or that has
    another signature there.
    """
    places = {function.name: number for number, function in enumerate(HOST_FUNCTIONS)}
    numbers = []
    for module, name, kind, parameters, results in imports:
        where = f"import {_show(module)}.{_show(name)}"
        if module != IMPORT_MODULE:
            raise GuestContractError(f"{where}: only module {IMPORT_MODULE!r} is offered")
        if kind != "function":
            raise GuestContractError(f"{where}: a {kind} cannot be imported")
        if name not in places:
            raise GuestContractError(f"{where}: not offered by this version")
        function = HOST_FUNCTIONS[places[name]]
        if results != "i" or not _fits(function, parameters):
            found = f"({_spell(parameters)}) -> ({_spell(results)})"
            raise GuestContractError(f"{where}: declared as {found}, must be {function.describe()}")
        numbers.append(places[name])
    return numbers


def check_exports(exports: Sequence[Declaration], *, memory_is_64: bool) -> bool:
    """Whether the program is of the older form, with generate in place of realm_handle.

    Raises GuestContractError naming the first export that is missing or of another type.
    """
    for problem in export_problems(exports, memory_is_64=memory_is_64):
        raise GuestContractError(problem)
    return _is_older({name for _, name, _, _, _ in exports})


def export_problems(exports: Sequence[Declaration], *, memory_is_64: bool) -> Iterator[str]:
    """What is missing among the exports, or of another type: all of it."""
    found = {name: (kind, parameters, results) for _, name, kind, parameters, results in exports}
    if found.get("memory", ("",))[0] != "memory":
        yield "export memory: missing"
    address = "I" if memory_is_64 else "i"
    for name, parameters, results in OLDER_EXPORTS if _is_older(set(found)) else GUEST_EXPORTS:
        wanted = ("function", parameters.replace("p", address), results.replace("p", address))
        if name not in found:
            yield f"export {name}: missing"
        elif found[name] != wanted:
            spelt = f"({_spell(wanted[1])}) -> ({_spell(wanted[2])})"
            yield f"export {name}: must be a function {spelt}"


def _is_older(names: set[str]) -> bool:
    return "generate" in names and "realm_handle" not in names


def _fits(function: HostFunction, letters: str) -> bool:
    """Whether the WASM types fit, with all addresses of one width."""
    if len(letters) != len(function.parameters):
        return False
    pairs = list(zip(function.parameters, letters, strict=True))
    widths = {letter for parameter, letter in pairs if parameter.letters == "iI"}
    return len(widths) <= 1 and all(letter in parameter.letters for parameter, letter in pairs)


def _show(name: str) -> str:
    """A module's name for something, fit for one line of a message."""
    shown = name if name.isprintable() else repr(name)[1:-1]
    return shown if len(shown) <= _NAME_LENGTH else f"{shown[:_NAME_LENGTH]}..."


def _spell(letters: str) -> str:
    names = {"i": "i32", "I": "i64", "f": "f32", "F": "f64"}
    return ", ".join(names.get(letter, "other") for letter in letters)
