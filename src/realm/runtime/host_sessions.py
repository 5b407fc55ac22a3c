"""Host functions on sessions, and whole generations on the host.

A sampled token costs the guest one wait for the engine's next step. The request's constraint
holds for the first session that its program opens and for that session's forks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from realm.runtime.contract import ErrorCode
from realm.runtime.guest_state import GuestState, SessionHandle
from realm.runtime.host_call import Answer, HostCallError, WaitForStep
from realm.runtime.host_models import put_bytes, put_ids, read_bounded_text
from realm.runtime.layouts import (
    GEN_OPTIONS,
    SAMPLE_PARAMETERS,
    read_gen_options,
    read_sample_parameters,
)

if TYPE_CHECKING:
    from realm.config import GenerationOptions
    from realm.engine import StepOutput
    from realm.runtime.hosted_model import HostedModel

_WORD_BYTES = 4


def session_open(state: GuestState, model_id: int) -> int:
    model = state.models.get(model_id).model
    state.sessions.require_room()
    sequence = state.surroundings.engine.open(model.stored, state.surroundings.tenant_id)
    return _add_session(state, SessionHandle(model, sequence))


def session_prefill(state: GuestState, session: int, ids_ptr: int, count: int) -> int:
    handle = state.sessions.get(session)
    ids = _read_ids(state, handle.model, ids_ptr, count)
    if ids:
        state.surroundings.engine.append(handle.sequence, ids)
        (handle.token_ids if handle.token_ids else handle.prompt_token_ids).extend(ids)
    return len(ids)


def session_accept(state: GuestState, session: int, ids_ptr: int, count: int) -> int:
    handle = state.sessions.get(session)
    ids = _read_ids(state, handle.model, ids_ptr, count)
    if ids:
        if handle.constraint is not None and not handle.constraint.admits(ids):
            raise HostCallError(ErrorCode.INVALID, "the request's constraint forbids these tokens")
        state.surroundings.engine.append(handle.sequence, ids)
        _constrain(state, handle, ids)
        state.tokens_generated(handle, ids)
    return len(ids)


def session_sample(
    state: GuestState, session: int, params_ptr: int, out_ptr: int, out_max_len: int
) -> Answer:
    handle = state.sessions.get(session)
    state.memory.require(out_ptr, out_max_len * _WORD_BYTES)
    if out_max_len == 0:
        state.last_size = 1
        raise HostCallError(ErrorCode.BUFFER, "no room for a token id")
    sampling = state.surroundings.options.sampling
    if params_ptr:
        data = state.memory.read(params_ptr, SAMPLE_PARAMETERS.size)
        sampling = read_sample_parameters(data, sampling)
    allowed = None if handle.constraint is None else handle.constraint.allowed()
    state.surroundings.engine.sample(handle.sequence, sampling, allowed)

    def complete(output: StepOutput) -> int:
        ids = list(output.token_ids)
        _constrain(state, handle, ids)
        state.tokens_generated(handle, ids, output.logprobs)
        state.surroundings.heard_token()
        return put_ids(state, ids, out_ptr, out_max_len)

    return WaitForStep(handle.sequence, complete)


def session_logits(state: GuestState, session: int, out_ptr: int, out_max_len: int) -> Answer:
    handle = state.sessions.get(session)
    size = handle.model.vocabulary_size
    state.memory.require(out_ptr, out_max_len * _WORD_BYTES)
    state.last_size = size
    if size > out_max_len:
        raise HostCallError(ErrorCode.BUFFER, f"{size} logits do not fit in {out_max_len}")
    state.surroundings.engine.logits(handle.sequence)

    def complete(output: StepOutput) -> int:
        if output.logits is None:
            raise HostCallError(ErrorCode.INTERNAL, "the step brought no logits")
        state.memory.write(out_ptr, np.ascontiguousarray(output.logits, np.float32).reshape(-1))
        return int(output.logits.size)

    return WaitForStep(handle.sequence, complete)


def session_fork(state: GuestState, session: int) -> int:
    handle = state.sessions.get(session)
    state.sessions.require_room()
    sequence = state.surroundings.engine.fork(handle.sequence)
    copy = SessionHandle(
        handle.model,
        sequence,
        list(handle.prompt_token_ids),
        list(handle.token_ids),
        list(handle.logprobs),
        None if handle.constraint is None else handle.constraint.copy(),
        list(handle.constrained_positions),
    )
    return _add_session(state, copy)


def session_rewind(state: GuestState, session: int, position: int) -> int:
    handle = state.sessions.get(session)
    present = state.surroundings.engine.position(handle.sequence)
    if not 0 <= position <= present:
        raise HostCallError(ErrorCode.INVALID, f"position {position} of {present}")
    state.surroundings.engine.rewind(handle.sequence, position)
    prompt_length = len(handle.prompt_token_ids)
    del handle.token_ids[max(0, position - prompt_length) :]
    del handle.logprobs[max(0, position - prompt_length) :]
    del handle.prompt_token_ids[position:]
    if handle.constraint is not None:
        kept = [place for place in handle.constrained_positions if place < position]
        handle.constraint.rewind(len(kept))
        handle.constrained_positions = kept
    return 0


def session_position(state: GuestState, session: int) -> int:
    return state.surroundings.engine.position(state.sessions.get(session).sequence)


def session_close(state: GuestState, session: int) -> int:
    state.surroundings.engine.close(state.sessions.remove(session).sequence)
    return 0


def host_generate(  # noqa: PLR0917
    state: GuestState,
    model_id: int,
    prompt_ptr: int,
    prompt_len: int,
    options_ptr: int,
    out_ptr: int,
    out_max_len: int,
) -> Answer:
    model = state.models.get(model_id).model
    state.memory.require(out_ptr, out_max_len)
    prompt = read_bounded_text(state, prompt_ptr, prompt_len)
    options = _generation_options(state, model, options_ptr)
    ids = model.encode_prompt(prompt)
    state.close_host_session()
    session = state.surroundings.make_session(model, ids, options)
    state.host_session = session
    if state.first_session is None:
        state.first_session = SessionHandle(model, session.sequence, prompt_token_ids=list(ids))
    texts: list[str] = []

    def complete(output: StepOutput) -> Answer:
        state.surroundings.heard_token()
        texts.extend(piece.text for piece in session.advance(output))
        if not session.finished:
            return WaitForStep(session.sequence, complete)
        if state.first_session is not None and state.first_session.sequence == session.sequence:
            state.tokens_generated(
                state.first_session, list(session.token_ids), session.logprobs or ()
            )
        state.close_host_session()
        return put_bytes(state, "".join(texts).encode(), out_ptr, out_max_len)

    session.start()
    return WaitForStep(session.sequence, complete)


def _generation_options(
    state: GuestState, model: HostedModel, options_ptr: int
) -> GenerationOptions:
    own = state.surroundings.options
    if not options_ptr:
        return own
    read = read_gen_options(state.memory.read(options_ptr, GEN_OPTIONS.size), own.sampling)
    stop_token_ids = _read_ids(state, model, read.stop_tokens_pointer, read.stop_token_count)
    return replace(
        own,
        max_tokens=min(read.max_tokens, own.max_tokens) if read.max_tokens else own.max_tokens,
        sampling=read.sampling,
        stop_token_ids=tuple(stop_token_ids) or own.stop_token_ids,
    )


def _read_ids(state: GuestState, model: HostedModel, pointer: int, count: int) -> list[int]:
    return state.memory.read_ids(pointer, count, model.vocabulary_size, model.context_length)


def _add_session(state: GuestState, handle: SessionHandle) -> int:
    number = state.sessions.add(handle)
    if state.first_session is None:
        state.first_session = handle
        handle.constraint = state.surroundings.constraint_for(handle.model)
    return number


def _constrain(state: GuestState, handle: SessionHandle, ids: list[int]) -> None:
    """Moves the session's constraint on by tokens that have just been added to it."""
    constraint = handle.constraint
    if constraint is None:
        return
    first = state.surroundings.engine.position(handle.sequence) - len(ids)
    for position, token in enumerate(ids, first):
        before = constraint.accepted
        constraint.accept(token)
        if constraint.accepted > before:
            handle.constrained_positions.append(position)
