"""Host functions for output and the rest: streaming, response, errors, log, time, randomness."""

from __future__ import annotations

from realm.runtime.contract import ErrorCode
from realm.runtime.guest_state import GuestState
from realm.runtime.host_call import Answer, HostCallError, WaitForRoom

_LAST_MILLISECOND = (1 << 31) - 1
_LOG_LEVELS = 4
_LOG_LINE_BYTES = 32  # what a line costs beside its text


def stream_token(state: GuestState, token_ptr: int, token_len: int) -> Answer:
    limit = state.surroundings.limits.output_bytes
    if token_len > limit:
        state.memory.require(token_ptr, token_len)
        raise HostCallError(ErrorCode.LIMIT, f"more than {limit} bytes of output")
    text = state.memory.read_text(token_ptr, token_len)
    if not text:
        return 0
    state.count_output(token_len)

    def put() -> Answer:
        return 0 if state.put_text(text) else WaitForRoom(put)

    return put()


def respond(state: GuestState, response_ptr: int, response_len: int) -> int:
    if state.response is not None:
        raise HostCallError(ErrorCode.STATE, "the response was given already")
    limit = state.surroundings.limits.response_bytes
    if response_len > limit:
        raise HostCallError(ErrorCode.LIMIT, f"a response of more than {limit} bytes")
    state.response = state.memory.read(response_ptr, response_len)
    return 0


def last_error(state: GuestState, out_ptr: int, out_max_len: int) -> int:
    text = state.last_error.encode(errors="replace")
    state.memory.require(out_ptr, out_max_len)
    state.last_size = len(text)
    if len(text) > out_max_len:
        return -int(ErrorCode.BUFFER)  # the text stays what it is, for the next try
    state.memory.write(out_ptr, text)
    return len(text)


def last_size(state: GuestState) -> int:
    return state.last_size


def log(state: GuestState, level: int, text_ptr: int, text_len: int) -> int:
    if not 0 <= level < _LOG_LEVELS:
        raise HostCallError(ErrorCode.INVALID, f"level {level}")
    state.memory.require(text_ptr, text_len)
    state.count_log(text_len + _LOG_LINE_BYTES)
    state.surroundings.log(level, state.memory.read_text(text_ptr, text_len))
    return 0


def now_ms(state: GuestState) -> int:
    return min(state.elapsed_milliseconds(), _LAST_MILLISECOND)


def random(state: GuestState, out_ptr: int, out_len: int) -> int:
    limit = state.surroundings.limits.random_bytes
    if out_len > limit:
        raise HostCallError(ErrorCode.LIMIT, f"more than {limit} random bytes at once")
    state.memory.require(out_ptr, out_len)
    state.memory.write(out_ptr, state.random_bytes(out_len))
    return out_len
