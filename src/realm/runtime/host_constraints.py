"""Host functions that narrow what a session's next tokens may be."""

from __future__ import annotations

import numpy as np

from realm.config import GenerationOptions
from realm.runtime.contract import ErrorCode
from realm.runtime.guest_state import GuestState
from realm.runtime.handles import SessionRule
from realm.runtime.host_call import Answer, HostCallError
from realm.runtime.host_models import read_bounded_text
from realm.runtime.host_work import in_background
from realm.session.constraint import Constraint

_WORD_BYTES = 4
_WORD_BITS = 32
# Kinds of realm_session_constrain, from 1 on.
_KINDS = ("json_schema", "regex", "grammar")


def session_mask(state: GuestState, session: int, mask_ptr: int, mask_len: int) -> int:
    handle = state.sessions.get(session)
    state.memory.require(mask_ptr, mask_len * _WORD_BYTES)
    size = handle.model.vocabulary_size
    words = -(-size // _WORD_BITS)
    if mask_len == 0:
        handle.mask = None
        return 0
    if mask_len != words:
        raise HostCallError(
            ErrorCode.INVALID, f"{mask_len} words, a mask of {size} tokens has {words}"
        )
    mask = np.frombuffer(state.memory.read(mask_ptr, mask_len * _WORD_BYTES), "<u4").copy()
    if size % _WORD_BITS:
        mask[-1] &= np.uint32((1 << size % _WORD_BITS) - 1)
    if not mask.any():
        raise HostCallError(ErrorCode.INVALID, "the mask allows no token")
    handle.mask = mask
    return 0


def session_constrain(
    state: GuestState, session: int, kind: int, source_ptr: int, source_len: int
) -> Answer:
    handle = state.sessions.get(session)
    source = read_bounded_text(state, source_ptr, source_len)
    if kind == 0:
        handle.own_rule = None
        return 0
    if not 1 <= kind <= len(_KINDS):
        raise HostCallError(ErrorCode.INVALID, f"kind {kind}")
    stored = handle.model.stored
    options = GenerationOptions(
        json_schema=source if kind == 1 else None,
        regex=source if kind == 2 else None,
        grammar=source if kind == 3 else None,
    )
    compiler = state.surroundings.services.constraints

    def complete(constraint: Constraint | None) -> int:
        assert constraint is not None
        handle.own_rule = SessionRule(constraint)
        return 0

    return in_background(state, lambda: compiler.compile(stored, options), complete)
