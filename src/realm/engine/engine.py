"""The engine: sequences of many owners, computed together, one step at a time.

One thread calls it. It reads no clock and no randomness of its own: the same calls give the same
bits. It never looks at text.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from realm.config import EngineConfig, SamplingParameters
from realm.engine.batch import build_batch
from realm.engine.cache import ModelCache
from realm.engine.output import StepOutput
from realm.engine.scheduler import Candidate, PlannedRows, StepPlan, plan_step
from realm.engine.sequence import Sequence, Want
from realm.errors import (
    CapacityError,
    ContextLengthError,
    ModelNotFoundError,
    RealmError,
    RequestError,
)
from realm.kernels import PAGE_TOKENS, Team
from realm.model import StoredModel

_NO_ROWS = np.empty(0, np.int32)


@dataclass(slots=True, eq=False)
class _ModelState:
    """Sequences of one model; `waiting` are those that want an answer."""

    model: StoredModel
    cache: ModelCache
    sequences: dict[int, Sequence] = field(default_factory=dict)
    waiting: dict[int, Sequence] = field(default_factory=dict)


class Engine:
    """Sequences and steps over every stored model.

    clock: seconds, for `native_seconds` alone; a replay passes its own.
    """

    def __init__(self, config: EngineConfig, clock: Callable[[], float] = lambda: 0.0) -> None:
        self._config = config
        self._clock = clock
        self._team = Team(config.thread_count)
        self._states: dict[str, _ModelState] = {}
        self._state_of: dict[int, _ModelState] = {}
        self._next_number = 1
        self._turn = 0
        self.native_seconds = 0.0
        self.step_count = 0

    @property
    def has_work(self) -> bool:
        """Whether some sequence waits for an answer."""
        return any(state.waiting for state in self._states.values())

    def open(self, model: StoredModel, owner: str) -> int:
        """A new empty sequence; its number. owner: who it is scheduled for."""
        state = self._states.get(model.content_hash)
        if state is None:
            config = self._config
            cache = ModelCache(model, config.cache_bytes, config.context_length)
            state = self._states[model.content_hash] = _ModelState(model, cache)
        number = self._next_number
        self._next_number += 1
        state.sequences[number] = Sequence(number, owner, state.cache.take_row())
        self._state_of[number] = state
        return number

    def append(self, sequence: int, token_ids: Items[int]) -> None:
        """Add tokens after the last one; they are computed when an answer needs them.

        Raises RequestError for ids out of the vocabulary, ContextLengthError for too many; then
        nothing is added.
        """
        state, found = self._find(sequence)
        vocabulary = state.model.hyperparameters.vocabulary_size
        for index, token in enumerate(token_ids):
            if not 0 <= token < vocabulary:
                text = f"token id {token} at index {index} is outside of 0..{vocabulary - 1}"
                raise RequestError(text)
        self._check_length(state, len(found.tokens) + len(token_ids))
        found.tokens += token_ids
        found.prompt_count = len(found.tokens)

    def sample(self, sequence: int, sampling: SamplingParameters) -> None:
        """Ask for the next token. One StepOutput follows; the token joins the sequence."""
        state, found = self._find(sequence)
        self._check_length(state, len(found.tokens) + 1)
        self._want(state, found, sampling)

    def logits(self, sequence: int) -> None:
        """Ask for the logits after the last token. One StepOutput follows."""
        self._want(*self._find(sequence), Want.LOGITS)

    def position(self, sequence: int) -> int:
        """How many tokens the sequence has, computed or not."""
        return len(self._find(sequence)[1].tokens)

    def rewind(self, sequence: int, position: int) -> None:
        """Forget every token from `position` on."""
        state, found = self._find(sequence)
        if not 0 <= position <= len(found.tokens):
            raise RequestError(f"position {position} is outside of 0..{len(found.tokens)}")
        if found.want is not None:
            raise RequestError("the sequence waits for an answer")
        del found.tokens[position:]
        found.computed = min(found.computed, position)
        found.prompt_count = min(found.prompt_count, position)
        state.cache.truncate(found, found.computed)

    def fork(self, sequence: int) -> int:
        """A new sequence with the same tokens; cache pages are shared until one is written."""
        state, found = self._find(sequence)
        number = self.open(state.model, found.owner)
        copy = state.sequences[number]
        copy.tokens = list(found.tokens)
        copy.computed = found.computed
        copy.prompt_count = found.prompt_count
        state.cache.share(found, copy, found.computed)
        return number

    def close(self, sequence: int) -> None:
        """Forget the sequence and free its pages, also while it waits: no answer follows then."""
        state, found = self._find(sequence)
        state.waiting.pop(sequence, None)
        del state.sequences[sequence], self._state_of[sequence]
        state.cache.drop(found)

    def free_page_count(self, model: StoredModel) -> int | None:
        """Free cache pages of a model; None while it has had no sequence."""
        state = self._states.get(model.content_hash)
        return None if state is None else state.cache.free_page_count

    def step(self) -> list[StepOutput]:
        """Compute the next rows of one model's waiting sequences; the answers that are complete."""
        states = [state for state in self._states.values() if state.waiting]
        if not states:
            return []
        state = states[self._turn % len(states)]
        self._turn += 1
        plan = plan_step(
            [Candidate(n, s.owner, s.pending) for n, s in state.waiting.items()],
            self._turn,
            self._config.step_tokens,
            self._config.prefill_chunk_tokens,
        )
        plan, failed = self._take_pages(state, plan)
        return failed + self._run(state, plan) if plan.rows else failed

    # ---- The layer by layer path of guests ----

    def embed(self, model: StoredModel, token_ids: Items[int]) -> NDArray[np.float32]:
        """Embeddings of tokens: float32 [tokens, hidden]."""
        return model.embed(token_ids)

    def forward_layer(
        self, sequence: int, layer: int, hidden: NDArray[np.float32], position: int
    ) -> NDArray[np.float32]:
        """One layer on rows at positions position.. of a sequence opened for this path.

        hidden: float32 [rows, hidden]. Returns the rows after the layer, the same shape. The
        sequence's cache holds this layer's keys and values of the positions before.
        """
        state, found = self._find(sequence)
        h = state.model.hyperparameters
        if not 0 <= layer < h.layer_count:
            raise RequestError(f"layer {layer} is outside of 0..{h.layer_count - 1}")
        if hidden.ndim != 2 or not len(hidden) or hidden.shape[1] != h.hidden_size:
            raise RequestError(f"hidden states {hidden.shape} are not [rows, {h.hidden_size}]")
        end = position + len(hidden)
        written = len(found.pages) * PAGE_TOKENS
        if not 0 <= position <= written:
            raise RequestError(f"position {position} leaves a gap: the cache ends before {written}")
        self._check_length(state, end)
        state.cache.make_writable(found, position, end)
        out = np.empty_like(hidden)
        with state.model.step_lock:
            state.model.native.step(
                state.cache.pool,
                self._team,
                hidden=hidden,
                page_table=state.cache.table,
                segments=np.array([[found.table_row, position, len(hidden)]], np.int32),
                layer_begin=layer,
                layer_end=layer + 1,
                logit_rows=_NO_ROWS,
                hidden_out=out,
            )
        return out

    def compute_logits(
        self, model: StoredModel, hidden: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Final norm and head on one row: float32 [hidden] to float32 [vocabulary]."""
        return model.compute_logits(hidden)

    # ---- Inside ----

    def _find(self, sequence: int) -> tuple[_ModelState, Sequence]:
        try:
            state = self._state_of[sequence]
        except KeyError:
            raise ModelNotFoundError(f"no open sequence {sequence}") from None
        return state, state.sequences[sequence]

    def _check_length(self, state: _ModelState, count: int) -> None:
        limit = state.cache.context_length
        if count > limit:
            raise ContextLengthError(f"{count} tokens exceed the context of {limit}")

    def _want(self, state: _ModelState, found: Sequence, want: SamplingParameters | Want) -> None:
        if found.want is not None:
            raise RequestError("the sequence already waits for an answer")
        if not found.tokens:
            raise RequestError("the sequence has no tokens")
        # Logits come from computing the last token: when the cache holds it, it is computed again.
        found.computed = min(found.computed, len(found.tokens) - 1)
        found.want = want
        state.waiting[found.number] = found

    def _take_pages(self, state: _ModelState, plan: StepPlan) -> tuple[StepPlan, list[StepOutput]]:
        rows: list[PlannedRows] = []
        failed: list[StepOutput] = []
        for row in plan.rows:
            sequence = state.sequences[row.sequence]
            begin = sequence.computed
            try:
                state.cache.make_writable(sequence, begin, begin + row.count)
            except CapacityError as error:
                failed.append(self._answer(state, sequence, error=error))
            else:
                rows.append(row)
        return StepPlan(tuple(rows)), failed

    def _run(self, state: _ModelState, plan: StepPlan) -> list[StepOutput]:
        batch = build_batch(plan, state.sequences)
        native = state.model.native
        begin = self._clock()
        with state.model.step_lock:
            sampled = native.step(
                state.cache.pool,
                self._team,
                tokens=batch.tokens,
                page_table=state.cache.table,
                segments=batch.segments,
                layer_begin=0,
                layer_end=state.model.hyperparameters.layer_count,
                logit_rows=batch.logit_rows,
                sampling_floats=batch.sampling_floats,
                sampling_integers=batch.sampling_integers,
                history=batch.history,
            ).tolist()
            logits = {
                index: native.logits(index, index + 1)[0]
                for index, each in enumerate(batch.answered)
                if each.want is Want.LOGITS
            }
        self.native_seconds += self._clock() - begin
        self.step_count += 1
        for row in plan.rows:
            state.sequences[row.sequence].computed += row.count
        return [
            self._answer(state, each, token=sampled[index], logits=logits.get(index))
            for index, each in enumerate(batch.answered)
        ]

    def _answer(
        self,
        state: _ModelState,
        sequence: Sequence,
        *,
        token: int = -1,
        logits: NDArray[np.float32] | None = None,
        error: RealmError | None = None,
    ) -> StepOutput:
        sequence.want = None
        del state.waiting[sequence.number]
        if token < 0:
            return StepOutput(sequence.number, logits=logits, error=error)
        sequence.tokens.append(token)
        return StepOutput(sequence.number, (token,))
