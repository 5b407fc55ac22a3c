"""Components through the C library of the wasmtime wheel, by ctypes: compiled, read, started.

The library's structures are declared here, for one major version of it. Nothing here knows the
contract, and no exception ever passes through native code. The process that compiles programs of
strangers loads this file alone, so it imports no other part of Realm but the errors.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import POINTER, byref, c_bool, c_char_p, c_int64, c_size_t, c_uint8, c_uint64, c_void_p
from typing import Any

from realm.errors import GuestCompileError, NativeError

Declaration = tuple[str, str, str]  # instance or "", name, type as text


class Value(ctypes.Structure):
    """`wasmtime_component_val_t`: s32 and u32 in the first word; texts and lists are a size and an
    address; an option is the address of its value, or 0."""

    _fields_ = (("kind", c_uint8), ("words", c_uint64 * 3))


class Bytes(ctypes.Structure):
    """`wasm_byte_vec_t`."""

    _fields_ = (("size", c_size_t), ("data", c_void_p))


class _ValueType(ctypes.Structure):
    _fields_ = (("kind", c_uint8), ("of", c_void_p))


class _Item(ctypes.Structure):
    _fields_ = (("kind", c_uint8), ("of", c_void_p), ("rest", c_void_p))


# environment, context, type, arguments, their count, results, their count -> an error or 0
HostCall = ctypes.CFUNCTYPE(
    c_size_t, c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t
)
# context, data, ticks until the next call, what to do -> an error or 0
OnDeadline = ctypes.CFUNCTYPE(c_size_t, c_void_p, c_void_p, POINTER(c_uint64), POINTER(c_uint8))

# Kinds of a Value. A list's elements stand VALUE_BYTES apart, their bytes at WORD_OFFSET.
U8, S32, U32, STRING, LIST, OPTION = 2, 5, 6, 12, 13, 18
VALUE_BYTES, WORD_OFFSET = ctypes.sizeof(Value), Value.words.offset

_SIMPLE_TYPES = "bool s8 s16 s32 s64 u8 u16 u32 u64 f32 f64 char string"
_LIST_TYPE, _OPTION_TYPE = 13, 18
_ITEMS = ("component", "instance", "module", "function", "resource", "core function", "type")
_INSTANCE_ITEM, _FUNCTION_ITEM = 1, 3

_OFF = (
    "wasm_threads shared_memory wasm_tail_call wasm_function_references wasm_gc gc_support "
    "wasm_relaxed_simd wasm_multi_memory wasm_wide_arithmetic wasm_exceptions wasm_memory64 "
    "wasm_custom_page_sizes wasm_stack_switching wasm_component_model_async "
    "wasm_component_model_async_stackful wasm_component_model_more_async_builtins "
    "wasm_component_model_map concurrency_support parallel_compilation native_unwind_info "
    "signals_based_traps memory_may_move"
)

_P, _N = c_void_p, c_size_t
# Calls that may take long: the interpreter goes on meanwhile. name: (result, parameters)
_LONG: dict[str, tuple[Any, list[Any]]] = {
    "wasmtime_component_new": (_P, [_P, c_char_p, _N, _P]),
    "wasmtime_component_serialize": (_P, [_P, _P]),
    "wasmtime_component_deserialize": (_P, [_P, c_char_p, _N, _P]),
    "wasmtime_component_delete": (None, [_P]),
    "wasmtime_component_linker_instantiate": (_P, [_P, _P, _P, _P]),
    "wasmtime_component_func_call": (_P, [_P, _P, _P, _N, _P, _N]),
    "wasmtime_store_delete": (None, [_P]),
}
# Calls of a microsecond: giving the interpreter away would cost more.
_SHORT: dict[str, tuple[Any, list[Any]]] = {
    "wasm_config_new": (_P, []),
    "wasm_engine_new_with_config": (_P, [_P]),
    "wasm_engine_delete": (None, [_P]),
    "wasm_byte_vec_new": (None, [_P, _N, c_char_p]),
    "wasm_byte_vec_delete": (None, [_P]),
    "wasmtime_wat2wasm": (_P, [c_char_p, _N, _P]),
    "wasmtime_engine_increment_epoch": (None, [_P]),
    "wasmtime_error_new": (_P, [c_char_p]),
    "wasmtime_error_message": (None, [_P, _P]),
    "wasmtime_error_delete": (None, [_P]),
    "wasmtime_store_new": (_P, [_P, _P, _P]),
    "wasmtime_store_context": (_P, [_P]),
    "wasmtime_store_limiter": (None, [_P, c_int64, c_int64, c_int64, c_int64, c_int64]),
    "wasmtime_context_set_epoch_deadline": (None, [_P, c_uint64]),
    "wasmtime_store_epoch_deadline_callback": (None, [_P, OnDeadline, _P, _P]),
    "wasmtime_component_type": (_P, [_P]),
    "wasmtime_component_type_delete": (None, [_P]),
    "wasmtime_component_type_import_count": (_N, [_P, _P]),
    "wasmtime_component_type_import_nth": (c_bool, [_P, _P, _N, _P, _P, _P]),
    "wasmtime_component_type_export_count": (_N, [_P, _P]),
    "wasmtime_component_type_export_nth": (c_bool, [_P, _P, _N, _P, _P, _P]),
    "wasmtime_component_instance_type_export_count": (_N, [_P, _P]),
    "wasmtime_component_instance_type_export_nth": (c_bool, [_P, _P, _N, _P, _P, _P]),
    "wasmtime_component_extern_type": (None, [_P, _P]),
    "wasmtime_component_extern_delete": (None, [_P]),
    "wasmtime_component_item_delete": (None, [_P]),
    "wasmtime_component_func_type_async": (c_bool, [_P]),
    "wasmtime_component_func_type_param_count": (_N, [_P]),
    "wasmtime_component_func_type_param_nth": (c_bool, [_P, _N, _P, _P, _P]),
    "wasmtime_component_func_type_result": (c_bool, [_P, _P]),
    "wasmtime_component_list_type_element": (None, [_P, _P]),
    "wasmtime_component_option_type_ty": (None, [_P, _P]),
    "wasmtime_component_valtype_delete": (None, [_P]),
    "wasmtime_component_linker_new": (_P, [_P]),
    "wasmtime_component_linker_delete": (None, [_P]),
    "wasmtime_component_linker_root": (_P, [_P]),
    "wasmtime_component_linker_instance_add_instance": (_P, [_P, c_char_p, _N, _P]),
    "wasmtime_component_linker_instance_add_func": (_P, [_P, c_char_p, _N, HostCall, _P, _P]),
    "wasmtime_component_linker_instance_delete": (None, [_P]),
    "wasmtime_component_instance_get_export_index": (_P, [_P, _P, _P, c_char_p, _N]),
    "wasmtime_component_instance_get_func": (c_bool, [_P, _P, _P, _P]),
    "wasmtime_component_export_index_delete": (None, [_P]),
    "wasmtime_component_vallist_new_uninit": (None, [_P, _N]),
    "wasmtime_component_val_new": (_P, [_P]),
    "wasmtime_component_val_delete": (None, [_P]),
}


class Api:
    """The library's functions, without `wasmtime_` before their names."""

    def __init__(self, library_path: str) -> None:
        self._library = ctypes.CDLL(library_path)
        self._quick = ctypes.PyDLL(library_path)
        for library, table in ((self._library, _LONG), (self._quick, _SHORT)):
            for name, (result, parameters) in table.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, parameters
                setattr(self, name.removeprefix("wasmtime_"), function)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)  # known names are set above

    def set_option(self, config: int, name: str, value: int | bool) -> None:
        """One property of a `wasm_config_t`."""
        setter = getattr(self._quick, f"wasmtime_config_{name}_set")
        setter.restype = None
        setter.argtypes = [c_void_p, c_bool if isinstance(value, bool) else c_uint64]
        setter(config, value)

    def take_message(self, error: int) -> str:
        """The text of an error, which is gone then."""
        text = Bytes()
        self.error_message(error, byref(text))
        self.error_delete(error)
        return self.take_bytes(text).decode(errors="replace")

    def take_bytes(self, vector: Bytes) -> bytes:
        """A copy of what the library allocated, which is gone then."""
        data = ctypes.string_at(vector.data, vector.size) if vector.size else b""
        self.wasm_byte_vec_delete(byref(vector))
        return data


class Host:
    """An engine for components.

    library_path: the C library. memory_bytes: address space reserved for a guest's memory.
    stack_bytes: of a guest's own code on its thread.
    """

    def __init__(self, library_path: str, *, memory_bytes: int, stack_bytes: int) -> None:
        self.api = api = Api(library_path)
        config = api.wasm_config_new()
        api.set_option(config, "wasm_component_model", True)
        for name in _OFF.split():
            api.set_option(config, name, False)
        api.set_option(config, "epoch_interruption", True)
        api.set_option(config, "memory_reservation", memory_bytes)
        api.set_option(config, "memory_guard_size", 0)
        api.set_option(config, "max_wasm_stack", stack_bytes)
        self.engine = api.wasm_engine_new_with_config(config)
        if not self.engine:
            raise NativeError("wasmtime refused the engine's configuration")

    def __del__(self) -> None:
        if getattr(self, "engine", None):
            self.api.wasm_engine_delete(self.engine)

    def wat_to_wasm(self, source: str) -> bytes:
        """Component text to its binary form. Raises GuestCompileError."""
        text, wasm = source.encode(), Bytes()
        error = self.api.wat2wasm(text, len(text), byref(wasm))
        if error:
            raise GuestCompileError(self.api.take_message(error))
        return self.api.take_bytes(wasm)


class Program:
    """A compiled component."""

    def __init__(self, host: Host, wasm: bytes) -> None:
        """Raises GuestCompileError."""
        self._take(host, wasm, host.api.component_new)

    @classmethod
    def deserialize(cls, host: Host, code: bytes) -> Program:
        """From what `serialize` gave, of an engine of the same kind. Raises GuestCompileError."""
        program = cls.__new__(cls)
        program._take(host, code, host.api.component_deserialize)
        return program

    def _take(self, host: Host, data: bytes, make: Any) -> None:
        self.host = host
        made = c_void_p()
        error = make(host.engine, data, len(data), byref(made))
        if error:
            raise GuestCompileError(host.api.take_message(error))
        self.component = made.value

    def __del__(self) -> None:
        if getattr(self, "component", None):
            self.host.api.component_delete(self.component)

    def serialize(self) -> bytes:
        """Native code."""
        code = Bytes()
        error = self.host.api.component_serialize(self.component, byref(code))
        if error:
            raise GuestCompileError(self.host.api.take_message(error))
        return self.host.api.take_bytes(code)

    def declarations(self) -> tuple[list[Declaration], list[Declaration]]:
        """Imports and exports; the functions of an instance one by one, with its name."""
        api = self.host.api
        kind = api.component_type(self.component)
        try:
            return (
                list(self._items(kind, "", "component_type_import")),
                list(self._items(kind, "", "component_type_export")),
            )
        finally:
            api.component_type_delete(kind)

    def _items(self, kind: int, instance: str, function: str) -> Iterator[Declaration]:
        api, engine = self.host.api, self.host.engine
        nth = getattr(api, f"{function}_nth")
        for number in range(getattr(api, f"{function}_count")(kind, engine)):
            name, size, outside, item = c_void_p(), c_size_t(), c_void_p(), _Item()
            nth(kind, engine, number, byref(name), byref(size), byref(outside))
            text = ctypes.string_at(name.value or 0, size.value).decode(errors="replace")
            api.component_extern_type(outside, byref(item))
            try:
                if item.kind == _INSTANCE_ITEM and not instance:
                    yield (text, "", "instance")
                    yield from self._items(item.of, text, "component_instance_type_export")
                elif item.kind == _FUNCTION_ITEM:
                    yield (instance, text, self._signature(item.of))
                else:
                    yield (instance, text, _ITEMS[item.kind])
            finally:
                api.component_item_delete(byref(item))
                api.component_extern_delete(outside)

    def _signature(self, kind: int) -> str:
        api = self.host.api
        parameters = []
        for number in range(api.component_func_type_param_count(kind)):
            name, size, found = c_void_p(), c_size_t(), _ValueType()
            api.component_func_type_param_nth(kind, number, byref(name), byref(size), byref(found))
            parameters.append(self._spell(found))
        result = _ValueType()
        has_result = api.component_func_type_result(kind, byref(result))
        mark = "async func" if api.component_func_type_async(kind) else "func"
        end = f" -> {self._spell(result)}" if has_result else ""
        return f"{mark}({', '.join(parameters)}){end}"

    def _spell(self, kind: _ValueType, depth: int = 0) -> str:
        """The type as the contract spells it; what the contract has no use for is 'other'."""
        api, inner = self.host.api, _ValueType()
        try:
            simple: list[str] = _SIMPLE_TYPES.split()
            number = int(kind.kind)
            if number < len(simple):
                return simple[number]
            if number == _LIST_TYPE and depth < 2:
                api.component_list_type_element(kind.of, byref(inner))
                return f"list<{self._spell(inner, depth + 1)}>"
            if number == _OPTION_TYPE and depth < 2:
                api.component_option_type_ty(kind.of, byref(inner))
                return f"option<{self._spell(inner, depth + 1)}>"
            return "other"
        finally:
            api.component_valtype_delete(byref(kind))
