"""Host functions on sessions, and whole generations on the host.

A sampled token costs the guest one wait for the engine's next step. The request's constraint
holds for the first session that its program opens and for that session's forks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from realm.errors import RealmError
from realm.runtime.contract import ErrorCode
from realm.runtime.guest_state import GuestState
from realm.runtime.handles import ModelHandle, SessionHandle, SessionRule
from realm.runtime.held_adapters import weighted
from realm.runtime.host_call import Answer, HostCallError, WaitForStep
from realm.runtime.host_models import fill_ids, read_bounded_text
from realm.runtime.host_work import by_length, in_background
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
    from realm.session.constraint import Constraint

_WORD_BYTES = 4


def session_open(state: GuestState, model_id: int) -> Answer:
    handle = state.models.get(model_id)
    state.sessions.require_room()
    constraint = state.surroundings.constraint
    if state.first_session is not None or constraint.is_ready(handle.model):
        return _open(state, handle, None)
    # For another model than the request's own the constraint has yet to be compiled.
    return in_background(
        state, lambda: constraint.take(handle.model), lambda found: _open(state, handle, found)
    )


def _open(state: GuestState, model: ModelHandle, compiled: Constraint | None) -> int:
    surroundings = state.surroundings
    sequence = surroundings.engine.open(
        model.model.stored,
        surroundings.tenant_id,
        surroundings.services.priority,
        weighted(model.adapters),
        draft_k=surroundings.options.draft_k,
        draft=surroundings.services.drafts.of(model.model.stored),
    )
    adapters = None if model.adapters is None else model.adapters.take()
    handle = SessionHandle(model.model, sequence, hold=model.hold, adapters=adapters)
    if state.first_session is None:
        state.first_session = handle
        constraint = compiled or surroundings.constraint.take(model.model)
        handle.request_rule = None if constraint is None else SessionRule(constraint)
    return _add(state, handle)


def session_prefill(state: GuestState, session: int, ids_ptr: int, count: int) -> int:
    handle = state.sessions.get(session)
    ids = _read_ids(state, handle.model, ids_ptr, count)
    if ids:
        _append(state, handle, ids)
        (handle.token_ids if handle.token_ids else handle.prompt_token_ids).extend(ids)
    return len(ids)


def session_accept(state: GuestState, session: int, ids_ptr: int, count: int) -> int:
    handle = state.sessions.get(session)
    ids = _read_ids(state, handle.model, ids_ptr, count)
    if ids:
        if not all(rule.constraint.admits(ids) for rule in handle.rules()):
            raise HostCallError(ErrorCode.INVALID, "a constraint forbids these tokens")
        _append(state, handle, ids)
        _move_on(state, handle, ids)
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
    surroundings = state.surroundings
    engine = surroundings.engine
    sampling = surroundings.options.sampling
    if params_ptr:
        data = state.memory.read(params_ptr, SAMPLE_PARAMETERS.size)
        sampling = read_sample_parameters(data, sampling)
    state.count_tokens(1)
    state.size_session(handle, engine.position(handle.sequence) + 1)
    masks_after = handle.allowed_after if handle.rules() else None
    allowed = handle.allowed()
    # A seed and a position have one noise: after a rewind the same is drawn again.
    drawn = None if allowed is not None else (engine.position(handle.sequence), sampling)
    more = max(0, surroundings.options.max_tokens - len(handle.token_ids) - 1)
    engine.sample(handle.sequence, sampling, allowed, masks_after, more=more)
    if drawn is not None and drawn == handle.drawn:
        surroundings.services.account.turns.charge_repeat()
    handle.drawn = drawn
    handle.mask = None
    handle.gave_logits = False

    def complete(output: StepOutput) -> int:
        ids = output.token_ids
        if handle.request_rule is not None or handle.own_rule is not None:
            _move_on(state, handle, ids)
        state.tokens_generated(handle, ids, output.logprobs)
        return fill_ids(state, ids, out_ptr, out_max_len)  # it was parked all the while

    return WaitForStep(handle.sequence, complete)


def session_logits(state: GuestState, session: int, out_ptr: int, out_max_len: int) -> Answer:
    handle = state.sessions.get(session)
    size = handle.model.vocabulary_size
    state.memory.require(out_ptr, out_max_len * _WORD_BYTES)
    state.last_size = size
    if size > out_max_len:
        raise HostCallError(ErrorCode.BUFFER, f"{size} logits do not fit in {out_max_len}")
    state.surroundings.engine.logits(handle.sequence)
    if handle.gave_logits:
        state.surroundings.services.account.turns.charge_repeat()
    handle.gave_logits = True

    def complete(output: StepOutput) -> int:
        if output.logits is None:
            raise HostCallError(ErrorCode.INTERNAL, "the step brought no logits")
        state.memory.write(out_ptr, np.ascontiguousarray(output.logits, np.float32).reshape(-1))
        return int(output.logits.size)

    return WaitForStep(handle.sequence, complete)


def session_fork(state: GuestState, session: int) -> int:
    handle = state.sessions.get(session)
    state.sessions.require_room()
    engine = state.surroundings.engine
    copy = handle.fork(engine.fork(handle.sequence))
    try:
        state.size_session(copy, engine.position(copy.sequence))
    except HostCallError:
        engine.close(copy.sequence)
        raise
    return _add(state, copy)


def session_rewind(state: GuestState, session: int, position: int) -> int:
    handle = state.sessions.get(session)
    present = state.surroundings.engine.position(handle.sequence)
    if not 0 <= position <= present:
        raise HostCallError(ErrorCode.INVALID, f"position {position} of {present}")
    state.surroundings.engine.rewind(handle.sequence, position)
    handle.gave_logits &= position == present
    prompt_length = len(handle.prompt_token_ids)
    del handle.token_ids[max(0, position - prompt_length) :]
    del handle.logprobs[max(0, position - prompt_length) :]
    del handle.prompt_token_ids[position:]
    for rule in handle.rules():
        rule.rewind(position)
    state.size_session(handle, position)
    return 0


def session_position(state: GuestState, session: int) -> int:
    return state.surroundings.engine.position(state.sessions.get(session).sequence)


def session_close(state: GuestState, session: int) -> int:
    state.close_session(state.sessions.remove(session))
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
    handle = state.models.get(model_id)
    model = handle.model
    state.memory.require(out_ptr, out_max_len)
    prompt = read_bounded_text(state, prompt_ptr, prompt_len)
    options = _generation_options(state, model, options_ptr)
    call = ("host_generate", model_id, prompt, options)
    kept = state.take_kept(call)
    if kept is not None:
        return state.put_or_keep(call, kept, out_ptr, out_max_len)
    constraint = state.surroundings.constraint

    def begin(compiled: Constraint | None) -> Answer:
        return by_length(
            state,
            prompt_len,
            lambda: model.encode_prompt(prompt),
            lambda ids: _generate(state, handle, ids, options, compiled, put),
        )

    def put(text: bytes) -> int:
        return state.put_or_keep(call, text, out_ptr, out_max_len)

    if constraint.is_ready(model):
        return begin(constraint.take(model))
    return in_background(state, lambda: constraint.take(model), begin)


def _generate(  # noqa: PLR0917
    state: GuestState,
    handle: ModelHandle,
    prompt_token_ids: list[int],
    options: GenerationOptions,
    constraint: Constraint | None,
    put: Callable[[bytes], int],
) -> Answer:
    model = handle.model
    token_count = min(len(prompt_token_ids) + options.max_tokens, model.context_length)
    state.count_tokens(token_count)
    session = state.open_host_session(
        model,
        token_count,
        lambda: state.surroundings.make_session(handle, prompt_token_ids, options, constraint),
    )
    if state.first_session is None:
        state.first_session = SessionHandle(
            model, session.sequence, prompt_token_ids=list(prompt_token_ids)
        )
    texts: list[str] = []

    def complete(output: StepOutput) -> Answer:
        texts.extend(piece.text for piece in session.advance(output))
        if not session.finished:
            return WaitForStep(session.sequence, complete)
        if state.first_session is not None and state.first_session.sequence == session.sequence:
            state.tokens_generated(
                state.first_session, list(session.token_ids), session.logprobs or ()
            )
        state.close_host_session()
        return put("".join(texts).encode())

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


def _add(state: GuestState, handle: SessionHandle) -> int:
    if handle.hold is not None:
        handle.hold.take()
    return state.sessions.add(handle)


def _append(state: GuestState, handle: SessionHandle, ids: list[int]) -> None:
    """Adds tokens to a session, or nothing when that raises."""
    engine = state.surroundings.engine
    before = engine.position(handle.sequence)
    state.count_tokens(len(ids))
    state.size_session(handle, before + len(ids))
    try:
        engine.append(handle.sequence, ids)
    except RealmError:
        state.size_session(handle, before)
        raise
    handle.gave_logits = False
    handle.drawn = None


def _move_on(state: GuestState, handle: SessionHandle, ids: Sequence[int]) -> None:
    """Moves the session's constraints on by tokens that have just been added to it."""
    if handle.request_rule is None and handle.own_rule is None:
        return
    first = state.surroundings.engine.position(handle.sequence) - len(ids)
    for rule in handle.rules():
        rule.accept(first, ids)
