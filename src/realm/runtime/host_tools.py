"""Host functions on what stands outside of the models: the tenant's state, and its tools."""

from __future__ import annotations

import logging
from functools import partial

from realm.errors import ToolError
from realm.runtime.contract import ErrorCode
from realm.runtime.guest_state import GuestState
from realm.runtime.host_call import Answer, HostCallError
from realm.runtime.host_models import put_bytes, read_bounded_text
from realm.runtime.host_work import in_background
from realm.runtime.policy import Tool
from realm.runtime.state_store import StateLimits

_LOGGER = logging.getLogger(__name__)
_MESSAGE_CHARACTERS = 1000


def state_get(
    state: GuestState, key_ptr: int, key_len: int, out_ptr: int, out_max_len: int
) -> Answer:
    store = state.surroundings.services.state
    state.memory.require(out_ptr, out_max_len)
    key = _read_key(state, key_ptr, key_len)
    look = partial(store.get, state.surroundings.tenant_id, key)

    def complete(value: bytes | None) -> int:
        if value is None:
            raise HostCallError(ErrorCode.NOT_FOUND, f"no value under {key!r}")
        return put_bytes(state, value, out_ptr, out_max_len)

    return complete(look()) if store.is_immediate else in_background(state, look, complete)


def state_put(
    state: GuestState, key_ptr: int, key_len: int, value_ptr: int, value_len: int
) -> Answer:
    services = state.surroundings.services
    tenant = services.account.limits
    state.memory.require(value_ptr, value_len)
    key = _read_key(state, key_ptr, key_len)
    if value_len > tenant.state_bytes:
        raise HostCallError(ErrorCode.LIMIT, f"a value of more than {tenant.state_bytes} bytes")
    value = state.memory.read(value_ptr, value_len)
    limits = StateLimits(tenant.state_entries, tenant.state_bytes)
    put = partial(services.state.put, state.surroundings.tenant_id, key, value, limits)

    def complete(fits: bool) -> int:
        if not fits:
            raise HostCallError(
                ErrorCode.LIMIT,
                f"more than {limits.entries} keys or {limits.bytes} bytes kept for this tenant",
            )
        return value_len

    store = services.state
    return complete(put()) if store.is_immediate else in_background(state, put, complete)


def tool_call(  # noqa: PLR0917
    state: GuestState,
    name_ptr: int,
    name_len: int,
    arguments_ptr: int,
    arguments_len: int,
    out_ptr: int,
    out_max_len: int,
) -> Answer:
    services = state.surroundings.services
    limit = state.surroundings.limits.text_bytes
    state.memory.require(out_ptr, out_max_len)
    state.memory.require(arguments_ptr, arguments_len)
    name = read_bounded_text(state, name_ptr, name_len)
    tool = services.tools.get(name)
    if tool is None:
        raise HostCallError(ErrorCode.NOT_FOUND, f"no tool {name!r} is offered to this tenant")
    if arguments_len > limit:
        raise HostCallError(ErrorCode.LIMIT, f"{arguments_len} bytes of arguments, at most {limit}")
    arguments = state.memory.read(arguments_ptr, arguments_len)
    call = ("tool", name, arguments)
    kept = state.take_kept(call)
    if kept is not None:
        return state.put_or_keep(call, kept, out_ptr, out_max_len)
    return in_background(
        state,
        partial(_run_tool, name, tool, arguments),
        lambda result: state.put_or_keep(call, result, out_ptr, out_max_len),
        workers=services.tool_workers,
        seconds=tool.seconds,
        share=services.account.limits.tools,
    )


def _run_tool(name: str, tool: Tool, arguments: bytes) -> bytes:
    """Worker thread. Nothing but a ToolError's own words goes on to the program."""
    try:
        found = tool.call(arguments)
    except ToolError as error:
        raise ToolError(str(error)[:_MESSAGE_CHARACTERS]) from None
    except BaseException:  # sys.exit() is a failure of the tool, too
        _LOGGER.exception("tool %r failed", name)
        raise ToolError(f"tool {name!r} failed") from None
    result = found.encode(errors="replace") if isinstance(found, str) else found
    if not isinstance(result, bytes):
        _LOGGER.error("tool %r gave %s, not bytes or text", name, type(found).__name__)
        raise ToolError(f"tool {name!r} failed")
    if len(result) > tool.result_bytes:
        raise ToolError(f"tool {name!r} gave more than {tool.result_bytes} bytes")
    return result


def _read_key(state: GuestState, pointer: int, length: int) -> bytes:
    limit = state.surroundings.services.account.limits.state_key_bytes
    state.memory.require(pointer, length)
    if not 0 < length <= limit:
        raise HostCallError(ErrorCode.LIMIT, f"a key has 1..{limit} bytes, not {length}")
    return state.memory.read(pointer, length)
