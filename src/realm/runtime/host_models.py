"""Host functions on models and text: handles, metadata, tokens, chat templates."""

from __future__ import annotations

import json
import struct
from array import array
from collections.abc import Sequence

from realm.runtime.contract import ErrorCode
from realm.runtime.guest_state import GuestState
from realm.runtime.handles import ModelHandle
from realm.runtime.host_call import Answer, HostCallError
from realm.runtime.host_work import by_length

_ADD_SPECIAL = 1
_PARSE_SPECIAL = 2
_WORD_BYTES = 4


def put_bytes(state: GuestState, data: bytes, pointer: int, room: int) -> int:
    """Writes all of `data` or nothing: HostCallError(BUFFER), the size left in `last_size`."""
    state.memory.require(pointer, room)
    state.last_size = len(data)
    if len(data) > room:
        raise HostCallError(ErrorCode.BUFFER, f"{len(data)} bytes do not fit in {room}")
    state.memory.put(pointer, data)
    return len(data)


def put_ids(state: GuestState, ids: Sequence[int], pointer: int, room: int) -> int:
    """As `put_bytes`, counted in u32 ids."""
    state.memory.require(pointer, room * _WORD_BYTES)
    return fill_ids(state, ids, pointer, room)


def fill_ids(state: GuestState, ids: Sequence[int], pointer: int, room: int) -> int:
    """As `put_ids`, where the call has found the memory to have the room."""
    count = state.last_size = len(ids)
    if count > room:
        raise HostCallError(ErrorCode.BUFFER, f"{count} ids do not fit in {room}")
    data = ids[0].to_bytes(_WORD_BYTES, "little") if count == 1 else array("I", ids).tobytes()
    state.memory.put(pointer, data)
    return count


def read_bounded_text(state: GuestState, pointer: int, length: int) -> str:
    """Text that the host has to work through: HostCallError(LIMIT) for too much of it."""
    state.memory.require(pointer, length)
    limit = state.surroundings.limits.text_bytes
    if length > limit:
        raise HostCallError(ErrorCode.LIMIT, f"{length} bytes of text, at most {limit} at once")
    return state.memory.read_text(pointer, length)


def load_model_by_name(state: GuestState, name_ptr: int, name_len: int) -> int:
    name = read_bounded_text(state, name_ptr, name_len)
    model = state.surroundings.models.get(name)
    if model is None:
        raise HostCallError(ErrorCode.NOT_FOUND, f"no model {name!r} is offered to this tenant")
    state.models.require_room()
    return state.models.add(ModelHandle(model, adapters=state.surroundings.adapters.default(model)))


def remove_model(state: GuestState, model_id: int) -> int:
    state.close_model(state.models.remove(model_id))
    if state.native is not None:
        state.native.forget_tokens(model_id)
    return 0


def get_model_info(state: GuestState, model_id: int, count_ptr: int, size_ptr: int) -> int:
    stored = state.models.get(model_id).model.stored
    state.memory.require(count_ptr, 4)
    state.memory.require(size_ptr, 8)
    state.memory.write(count_ptr, struct.pack("<I", stored.tensor_count))
    state.memory.write(size_ptr, struct.pack("<Q", stored.size_bytes))
    return 0


def get_model_metadata(state: GuestState, model_id: int, out_ptr: int, out_max_len: int) -> int:
    return put_bytes(state, state.models.get(model_id).model.metadata, out_ptr, out_max_len)


def encode_tokens(  # noqa: PLR0917
    state: GuestState, model_id: int, text_ptr: int, text_len: int, out_ptr: int, out_max_len: int
) -> Answer:
    return encode_text(state, model_id, text_ptr, text_len, _ADD_SPECIAL, out_ptr, out_max_len)


def encode_text(  # noqa: PLR0917
    state: GuestState,
    model_id: int,
    text_ptr: int,
    text_len: int,
    flags: int,
    out_ptr: int,
    out_max_len: int,
) -> Answer:
    model = state.models.get(model_id).model
    if flags & ~(_ADD_SPECIAL | _PARSE_SPECIAL):
        raise HostCallError(ErrorCode.INVALID, f"unknown flags {flags:#x}")
    state.memory.require(out_ptr, out_max_len * _WORD_BYTES)
    text = read_bounded_text(state, text_ptr, text_len)

    def encode() -> list[int]:
        return model.encode(
            text,
            add_special=bool(flags & _ADD_SPECIAL),
            parse_special=bool(flags & _PARSE_SPECIAL),
        )

    return by_length(state, text_len, encode, lambda ids: put_ids(state, ids, out_ptr, out_max_len))


def decode_tokens(  # noqa: PLR0917
    state: GuestState, model_id: int, ids_ptr: int, ids_len: int, out_ptr: int, out_max_len: int
) -> int:
    model = state.models.get(model_id).model
    memory = state.memory
    memory.require(out_ptr, out_max_len)
    limit = state.surroundings.limits.text_bytes
    pieces = [
        model.token_bytes(token)
        for token in memory.read_ids(ids_ptr, ids_len, model.vocabulary_size, limit)
    ]
    size = state.last_size = sum(map(len, pieces))
    if size > out_max_len:  # known before the bytes stand anywhere
        raise HostCallError(ErrorCode.BUFFER, f"{size} bytes do not fit in {out_max_len}")
    memory.put(out_ptr, b"".join(pieces))
    if state.native is not None:
        # From now on these tokens are answered without parking the guest.
        state.native.know_tokens(model_id, model.known_tokens, limit)
    return size


def render_chat(  # noqa: PLR0917
    state: GuestState, model_id: int, json_ptr: int, json_len: int, out_ptr: int, out_max_len: int
) -> Answer:
    model = state.models.get(model_id).model
    state.memory.require(out_ptr, out_max_len)
    source = read_bounded_text(state, json_ptr, json_len)

    def render() -> bytes:
        try:
            messages = json.loads(source)
        except (ValueError, RecursionError) as error:
            raise HostCallError(ErrorCode.JSON, f"messages: {error}") from None
        if not isinstance(messages, list) or not all(isinstance(item, dict) for item in messages):
            raise HostCallError(ErrorCode.JSON, "messages: must be an array of objects")
        return model.render_chat(messages).encode()

    return by_length(
        state, json_len, render, lambda text: put_bytes(state, text, out_ptr, out_max_len)
    )
