"""One component guest: a thread and a store of its own, seen by the engine thread as a guest.

The component's calls run on its thread, on the stack of a thread that Python made. A host call puts
its number and arguments into the mailbox, wakes the engine thread and waits; the engine thread
reads the arguments where they lie, writes the result, and answers. No exception passes through
native code: what goes wrong in a host call is a parked status, or an error of the library's own.
"""

from __future__ import annotations

import ctypes
import logging
import time
from collections.abc import Callable
from ctypes import byref, c_uint64
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from realm.runtime import _guest
from realm.runtime.component_contract import COMPONENT_FUNCTIONS, ComponentFunction
from realm.runtime.component_native import (
    LIST,
    OPTION,
    S32,
    STRING,
    U8,
    VALUE_BYTES,
    WORD_OFFSET,
    Api,
    Program,
    Value,
)

if TYPE_CHECKING:
    from realm.runtime.component_tier import ComponentTier
    from realm.runtime.limits import GuestLimits

RUNNING = 6  # beside the outcomes of _guest: it computes on its own thread and will wake the engine
_LOGGER = logging.getLogger(__name__)
# Where the host functions see the arguments (each one at a multiple) and the room for the result.
_ARGUMENT_SPACE = 1 << 32
_RESULT_SPACE = 1 << 47
_RESULT_BYTES = 1 << 20  # a list of bytes takes 32 times as much on its way
_ID_BYTES = 4
_CORE_INSTANCES, _TABLES, _MEMORIES = 64, 16, 1
_SIGNED = {"s32"}
_FAULT = b"a fault of the host"
_GONE = b"nobody waits for this program any more"
# How the library says what a limit is to us.
_LIMIT_SIGNS = {
    "call stack exhausted": "stack",
    "fuel allocated for hostcalls": "bytes in one host call",
}


class ComponentGuest:
    """What `_guest.Guest` is for a module. All methods but `run` belong to the engine thread."""

    news: tuple[int, str | None, int] | None = None  # every one of its calls parks it

    def __init__(
        self,
        tier: ComponentTier,
        program: Program,
        request: bytes,
        limits: GuestLimits,
        wake: Callable[[], None],
    ) -> None:
        """wake: any thread may call it, when the guest waits for an answer or has ended."""
        self._tier = tier
        self._api: Api = tier.api
        self._program = program
        self._request = request
        self._limits = limits
        self._wake = wake
        self._answers: SimpleQueue[int | None] = SimpleQueue()
        self._mail: tuple[int, tuple[int, ...]] | None = None
        self._outcome: tuple[int, Any] | None = None
        self._arguments: list[Value] = []
        self._result: bytes | None = None
        self._is_abandoned = False
        self._last_code = 0
        self._limit_reached: str | None = None
        self._compute_start = 0.0
        self._wall_deadline = time.monotonic() + limits.wall_seconds

    def poll(self, text_room: int = 0) -> tuple[int, Any]:  # noqa: ARG002 (every call parks it)
        """As `_guest.Guest.poll`, without ever computing; RUNNING while it does so itself."""
        if self._mail is not None:
            return _guest.PARKED, self._mail
        return self._outcome if self._outcome is not None else (RUNNING, None)

    def resume(self, answer: int) -> None:
        """Answers the host call that it waits in."""
        assert self._mail is not None
        self._mail = None
        self._answers.put(answer)

    def close(self) -> None:
        """Nobody waits for it any more: it ends soon, on its own thread."""
        self._is_abandoned = True
        self._mail = None
        self._answers.put(None)

    @property
    def memory_bytes(self) -> int:
        """As much as it may have: what it has is known to its own thread."""
        return self._limits.memory_bytes

    def contains(self, pointer: int, length: int) -> bool:
        """Whether the bytes lie in one of the call's arguments, or in the room for its result."""
        if self._mail is None:
            return False
        if pointer == _RESULT_SPACE:
            return length <= _RESULT_BYTES
        number, offset = divmod(pointer, _ARGUMENT_SPACE)
        if not 1 <= number <= len(self._arguments):
            return False
        return offset + length <= int(self._arguments[number - 1].words[0])

    def read(self, pointer: int, length: int) -> bytes:
        """A copy of bytes of an argument; `contains` holds."""
        number, offset = divmod(pointer, _ARGUMENT_SPACE)
        if number == 0 or not length:
            return b""
        value = self._arguments[number - 1]
        if value.kind == STRING:
            return ctypes.string_at(value.words[1] + offset, length)
        return _elements(value.words[1] + offset * VALUE_BYTES, length).tobytes()

    def write(
        self, pointer: int, data: bytes | npt.NDArray[np.float32] | npt.NDArray[np.uint32]
    ) -> None:
        """Keeps the result of the call; `contains` holds."""
        assert pointer == _RESULT_SPACE
        self._result = bytes(data)

    def run(self) -> None:
        """Its own thread: from the start to the end."""
        try:
            self._outcome = self._run()
        except Exception:
            _LOGGER.exception("a component could not be run")
            self._outcome = (_guest.TRAPPED, _FAULT.decode())

    def tell_end(self) -> None:
        """Its own thread, last of all."""
        self._wake()

    def _run(self) -> tuple[int, Any]:
        api = self._api
        self._compute_start = time.thread_time()
        on_deadline = self._tier.deadline_callback(self._check_deadline)
        store = api.store_new(self._tier.engine, None, None)
        try:
            context = api.store_context(store)
            api.store_limiter(
                store,
                self._limits.memory_bytes,
                self._tier.table_elements,
                _CORE_INSTANCES,
                _TABLES,
                _MEMORIES,
            )
            api.context_set_epoch_deadline(context, 1)
            api.store_epoch_deadline_callback(store, on_deadline, None, None)
            return self._call_handle(context)
        finally:
            api.store_delete(store)

    def _call_handle(self, context: int) -> tuple[int, Any]:
        api, tier = self._api, self._tier
        if self._is_abandoned:
            return _guest.TRAPPED, _GONE.decode()
        instance, function = (c_uint64 * 4)(), (c_uint64 * 4)()
        error = api.component_linker_instantiate(
            tier.linker, context, self._program.component, byref(instance)
        )
        if error:
            return self._failure(error, is_start=True)
        index = api.component_instance_get_export_index(
            byref(instance), context, None, tier.handle_name, len(tier.handle_name)
        )
        found = index and api.component_instance_get_func(
            byref(instance), context, index, byref(function)
        )
        if index:
            api.component_export_index_delete(index)
        if not found:
            return _guest.CONTRACT, "the program exports no handle"
        request, answer = Value(kind=STRING), Value()
        api.wasm_byte_vec_new(byref(request, WORD_OFFSET), len(self._request), self._request)
        error = api.component_func_call(
            byref(function), context, byref(request), 1, byref(answer), 1
        )
        api.component_val_delete(byref(request))
        if error:
            return self._failure(error, is_start=False)
        return _guest.FINISHED, _number(answer, is_signed=True)

    def _failure(self, error: int, *, is_start: bool) -> tuple[int, str]:
        message = self._api.take_message(error)
        if self._limit_reached is not None:
            return _guest.LIMIT, self._limit_reached
        for sign, limit in _LIMIT_SIGNS.items():
            if sign in message:
                return _guest.LIMIT, limit
        # An interpreter's frames say nothing to whoever wrote the program.
        message = message.rpartition("Caused by:")[2]
        # Before any code of its own runs, only what it asks for can be refused.
        is_refused = is_start and "wasm trap" not in message
        return (_guest.LIMIT if is_refused else _guest.TRAPPED), message

    def _check_deadline(self) -> bytes | None:
        """Its own thread, at each tick while it computes: why it must end, or None."""
        if self._is_abandoned:
            return _GONE
        if time.thread_time() - self._compute_start > self._limits.compute_seconds:
            self._limit_reached = "compute time"
        elif time.monotonic() > self._wall_deadline:
            self._limit_reached = "wall time"
        return self._limit_reached.encode() if self._limit_reached is not None else None

    def call_host(self, number: int, arguments: int, count: int, result: int) -> bytes | None:
        """Its own thread, inside a host call: fills in the result, or says why it must end."""
        function = COMPONENT_FUNCTIONS[number]
        self._arguments = list((Value * count).from_address(arguments)) if count else []
        self._result = None
        try:
            answer = self._ask(function)
        finally:
            for value in self._arguments:
                self._api.component_val_delete(byref(value))
            self._arguments = []
        if answer is None:
            return _GONE
        stop = self._check_deadline()  # calls shorter than a tick meet no check of their own
        if stop is None:
            _put_result(self._api, function, answer, self._result or b"", result)
        return stop

    def _ask(self, function: ComponentFunction) -> int | None:
        """The host function's answer; None when nobody waits any more."""
        if function.host is None:
            return self._last_code
        if self._is_abandoned:
            return None
        self._mail = (function.host, tuple(self._host_arguments(function)))
        self._wake()
        answer = self._answers.get()
        if answer is not None:
            self._last_code = max(0, -answer)
        return answer

    def _host_arguments(self, function: ComponentFunction) -> list[int]:
        """What the host function takes, in its order."""
        given: list[int] = []
        room = _RESULT_BYTES
        for place, (kind, value) in enumerate(
            zip(function.parameters, self._arguments, strict=True)
        ):
            pointer, size = (place + 1) * _ARGUMENT_SPACE, value.words[0]
            if kind in ("s32", "u32"):
                given.append(_number(value, is_signed=kind in _SIGNED))
            elif kind == "room":
                room = _number(value, is_signed=False)
            elif kind == "structure":
                given.append(pointer if size else 0)
            else:
                # A part of an id counts as one, which then lies outside.
                given += [pointer, -(-size // _ID_BYTES) if kind == "ids" else size]
        if function.result != "s32":
            given += [_RESULT_SPACE, room // _ID_BYTES if function.result == "ids" else room]
        return given


def _number(value: Value, *, is_signed: bool) -> int:
    low = int(value.words[0]) & 0xFFFFFFFF
    return low - (1 << 32) if is_signed and low >> 31 else low


def _elements(address: int, count: int) -> npt.NDArray[np.uint8]:
    """The bytes of `count` elements of a list, where they lie: one every VALUE_BYTES."""
    block = (ctypes.c_uint8 * (count * VALUE_BYTES)).from_address(address)
    elements: npt.NDArray[np.uint8] = np.ctypeslib.as_array(block)[WORD_OFFSET::VALUE_BYTES]
    return elements


def _put_result(
    api: Api, function: ComponentFunction, answer: int, data: bytes, address: int
) -> None:
    """Writes what the function returns, which the library owns then."""
    result = Value.from_address(address)
    if function.result == "s32":
        result.kind, result.words[0] = S32, answer & 0xFFFFFFFF
        return
    result.kind, result.words[0] = OPTION, 0
    if answer < 0:
        return
    inner = Value()
    if function.result == "text":
        inner.kind = STRING
        api.wasm_byte_vec_new(byref(inner, WORD_OFFSET), len(data), data)
    else:
        inner.kind = LIST
        api.component_vallist_new_uninit(byref(inner, WORD_OFFSET), len(data))
        if data:
            block = (ctypes.c_uint8 * (len(data) * VALUE_BYTES)).from_address(inner.words[1])
            values = np.ctypeslib.as_array(block).reshape(len(data), VALUE_BYTES)
            values[:] = 0
            values[:, 0] = U8
            values[:, WORD_OFFSET] = np.frombuffer(data, np.uint8)
    result.words[0] = api.component_val_new(byref(inner))
