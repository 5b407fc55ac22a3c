"""The engine: sequences of many owners, computed together, one step at a time.

One thread calls it. It reads no clock and no randomness of its own: the same calls give the same
bits. Only what part of a native call each of its steps took is measured in the native core
(decision 21): that moves how much is drafted, never a bit. It never looks at text.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items

import numpy as np
from numpy.typing import NDArray

from realm.config import EngineConfig, SamplingParameters
from realm.engine.cache import prefix_scope
from realm.engine.fairness import OwnerLedger
from realm.engine.features import checked_layers
from realm.engine.layers import LayerRows, compute_layer, prepare_layer
from realm.engine.model_state import ModelState, open_state
from realm.engine.model_step import step_model
from realm.engine.output import StepOutput
from realm.engine.scheduler import StepLimits
from realm.engine.sequence import Mask, MasksAfter, Sequence, Want
from realm.engine.speculation import SequenceSpeculation, SpeculationBook, SpeculationMetrics
from realm.engine.step_run import Machine, answer_known
from realm.errors import (
    ConfigError,
    ContextLengthError,
    ModelNotFoundError,
    RealmError,
    RequestError,
)
from realm.kernels import PAGE_TOKENS, Interrupt, SideWork, Team
from realm.model import DraftModel, StoredModel, WeightedAdapter, check_adapters, check_speaks


class Engine:
    """Sequences and steps over every stored model.

    step_count, row_count, native_seconds: of all steps. batch_fill: the last step's share of the
    rows that it may have, without drafts. interrupt: while it is set, by any thread, one call of
    `step` computes one step at most.

    clock: seconds, to measure what a step costs; a replay passes its own. It decides how much of a
    prompt a step takes, never a result. Without one, prompts get all that `config` allows.
    side_work: what its threads do beside steps.
    """

    def __init__(
        self,
        config: EngineConfig,
        clock: Callable[[], float] = lambda: 0.0,
        side_work: SideWork | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._team = Team(config.thread_count, side_work)
        self.interrupt = Interrupt()
        self._machine = Machine(self._team, clock, self.interrupt)
        self._ledger = OwnerLedger()
        self._limits = StepLimits(
            rows=config.step_tokens,
            chunk_rows=config.prefill_chunk_tokens,
            step_seconds=config.step_seconds,
        )
        self._states: dict[str, ModelState] = {}
        self._speculation = SpeculationBook(config.speculation)
        self._state_of: dict[int, ModelState] = {}
        self._next_number = 1
        self._turn = 0
        self.native_seconds = 0.0
        self.step_count = 0
        self.row_count = 0
        self.batch_fill = 0.0

    @property
    def has_work(self) -> bool:
        """Whether a step would bring some sequence nearer to its answer."""
        return any(state.has_work for state in self._states.values())

    @property
    def preemption_count(self) -> int:
        """How often a sequence that waited for an answer lost its pages to another."""
        return sum(state.preemption_count for state in self._states.values())

    @property
    def reused_page_count(self) -> int:
        """Pages that the prefix cache spared from being computed."""
        return sum(state.cache.prefix_hit_count for state in self._states.values())

    @property
    def sequence_count(self) -> int:
        """Sequences that are open, of every model."""
        return len(self._state_of)

    def set_weight(self, owner: str, weight: float) -> None:
        """An owner's share against others that want as much: 1 for everyone unless set."""
        if not 0.0 < weight < float("inf"):
            raise ConfigError(f"a weight must be a number > 0, not {weight}")
        self._ledger.set_weight(owner, weight)

    def open(
        self,
        model: StoredModel,
        owner: str,
        priority: int = 0,
        adapters: Items[WeightedAdapter] = (),
        *,
        draft_k: int | None = None,
        draft: DraftModel | None = None,
        feature_layers: Items[int] | None = None,
    ) -> int:
        """A new empty sequence; its number. owner: who it is scheduled for.

        priority: a higher one gets pages and prompt rows before every lower one. adapters: what is
        added to the model, in order. draft_k: most drafted tokens of a step; 0 for none, None for
        as many as the engine may. draft: a model that drafts besides. feature_layers: those of
        which `feature` tells, with the head. Raises RequestError for more than MOST_ADAPTERS, one
        of another model, a weight that is not finite, or layers that there are not; ModelError for
        a model that only drafts.
        """
        check_adapters(model.content_hash, adapters)
        check_speaks(model)
        layers = checked_layers(model, feature_layers)
        state = self._states.get(model.content_hash)
        if state is None:
            state = open_state(model, self._ledger, self._config)
            self._states[model.content_hash] = state
        drafts = self._config.speculation.enabled and draft_k != 0
        drafter = state.drafters.open(draft, self._team, self._clock) if drafts and draft else None
        number = self._next_number
        self._next_number += 1
        row, added = state.cache.take_row(), tuple(adapters)
        sequence = Sequence(number, owner, row, priority, adapters=added, feature_layers=layers)
        if drafts:
            tenant = self._speculation.tenant(prefix_scope(model.content_hash, sequence))
            sequence.speculation = SequenceSpeculation(tenant, draft_k)
            sequence.drafter = drafter
        state.add(sequence)
        self._state_of[number] = state
        return number

    def append(self, sequence: int, token_ids: Items[int]) -> None:
        """Add tokens after the last one; they are computed when an answer needs them.

        Raises RequestError for ids out of the vocabulary, ContextLengthError for too many; then
        nothing is added.
        """
        state, found = self._find(sequence)
        if found.by_layers:
            raise RequestError("the sequence is computed layer by layer")
        vocabulary = state.model.hyperparameters.vocabulary_size
        for index, token in enumerate(token_ids):
            if not 0 <= token < vocabulary:
                text = f"token id {token} at index {index} is outside of 0..{vocabulary - 1}"
                raise RequestError(text)
        self._check_length(state, len(found.tokens) + len(token_ids))
        found.tokens += token_ids
        found.prompt_count = len(found.tokens)
        found.turn()

    def sample(
        self,
        sequence: int,
        sampling: SamplingParameters,
        allowed: Mask | None = None,
        masks_after: MasksAfter | None = None,
        *,
        more: int = 0,
    ) -> None:
        """Ask for the next token. One StepOutput follows; the token joins the sequence.

        allowed: uint32 [ceil(vocabulary / 32)], one bit a token, the lowest bit first: the tokens
        that may be drawn; None allows all. When none may, the answer is a ConstraintError.
        masks_after: called while the answer is computed, with tokens that may come next: the masks
        of the tokens after each, as many as can be told. Without it a mask ends drafting.
        more: how many tokens will be asked for after this one, in the same way; a guess, that
        decides how long one native call may go on.
        """
        state, found = self._find(sequence)
        self._check_length(state, len(found.tokens) + 1)
        vocabulary = state.model.hyperparameters.vocabulary_size
        for token, _ in sampling.logit_bias:
            if token >= vocabulary:
                raise RequestError(f"logit_bias names token {token} of {vocabulary}")
        if allowed is not None and allowed.shape != (-(-vocabulary // 32),):
            raise RequestError(f"a mask {allowed.shape} is not one of {vocabulary} tokens")
        self._want(state, found, sampling, allowed)
        found.masks_after = masks_after
        found.more = more

    def logits(self, sequence: int) -> None:
        """Ask for the logits after the last token. One StepOutput follows."""
        self._want(*self._find(sequence), Want.LOGITS)

    def take_known(self, sequence: int) -> StepOutput | None:
        """The answer to what it asks for, if an earlier step has brought it already."""
        state, found = self._find(sequence)
        return answer_known(state, found) if sequence in state.ready else None

    def feature(self, sequence: int) -> NDArray[np.float32] | None:
        """What the head, then its `feature_layers` multiplied to draw the last token: float32
        [parts, hidden]. None without `feature_layers`, or if the last token was not drawn last."""
        found = self._find(sequence)[1]
        return found.newest_feature(found.feature_layers)

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
        found.turn()
        if found.speculation is not None:
            found.speculation.truncate(position)
        if found.drafter is not None:
            found.drafter.truncate(sequence, position)
        found.computed = min(found.computed, position)
        found.prompt_count = min(found.prompt_count, position)
        found.paid = min(found.paid, position)
        del found.chain[position // PAGE_TOKENS :]
        state.cache.truncate(found, found.computed)
        state.rest(found)

    def fork(self, sequence: int) -> int:
        """A new sequence with the same tokens; cache pages are shared until one is written."""
        state, found = self._find(sequence)
        number = self.open(
            state.model, found.owner, found.priority, found.adapters, draft_k=found.draft_k
        )
        copy = state.sequences[number]
        copy.drafter = found.drafter
        copy.feature_layers, copy.feature = found.feature_layers, found.feature
        copy.tokens = list(found.tokens)
        copy.computed = found.computed
        copy.prompt_count = found.prompt_count
        found.turn()
        state.share(found, copy)
        return number

    def close(self, sequence: int) -> None:
        """Forget the sequence and free its pages, also while it waits: no answer follows then."""
        state, found = self._find(sequence)
        del self._state_of[sequence]
        state.remove(found)
        if found.drafter is not None:
            found.drafter.forget(sequence)
            if not found.drafter.is_wanted:
                state.drafters.drop_unwanted(state.sequences.values())
        if found.speculation is not None:
            lead, output = found.tokens[: found.prompt_count], found.tokens[found.prompt_count :]
            scope = prefix_scope(state.model.content_hash, found)
            self._speculation.remember(scope, output, lead)

    def free_page_count(self, model: StoredModel) -> int | None:
        """Free cache pages of a model; None while it has had no sequence."""
        state = self._states.get(model.content_hash)
        return None if state is None else state.cache.free_page_count

    def forget_model(self, model: StoredModel) -> bool:
        """Free the caches of a model that nobody needs any more; False while it has sequences.

        What it needs as a draft goes with the last sequence for which it drafts.
        """
        state = self._states.get(model.content_hash)
        if state is not None and state.sequences:
            return False
        for other in self._states.values():
            if not other.drafters.forget(model, other.sequences.values()):
                return False
        self._states.pop(model.content_hash, None)
        return True

    def forget_texts(self, owner: str | None = None) -> None:
        """Keep nothing of the texts of this owner, or of anyone, that open sequences do not need.

        Those are the pages for texts that begin alike, and the outputs that drafts are taken from.
        """
        for state in self._states.values():
            state.cache.forget_prefixes(owner)
        self._speculation.forget_owner(owner)

    def forget_owner(self, owner: str) -> None:
        """Know nothing of an owner that is gone for good; it has no open sequence."""
        self.forget_texts(owner)
        self._speculation.forget_counts(owner)
        self._ledger.set_weight(owner, 1.0)

    def speculation_metrics(self, owner: str | None = None) -> SpeculationMetrics:
        """What became of this owner's drafts, or of everyone's. Any thread may ask."""
        return self._speculation.metrics(owner)

    def step(self) -> list[StepOutput]:
        """Compute the next rows of one model's waiting sequences; the answers that are complete.

        Answers that are known already come first, alone: nobody waits long for them.
        """
        known = [
            answer_known(state, each)
            for state in self._states.values()
            for each in list(state.ready.values())
        ]
        if known:
            return known
        states = [state for state in self._states.values() if state.has_work]
        if not states:
            return []
        self._ledger.settle({owner for state in states for owner in state.owners()})
        state = states[self._turn % len(states)]
        self._turn += 1
        ran = step_model(
            state, self._ledger, self._limits, self._config, self._machine, len(states) == 1
        )
        if ran.rows:
            self.native_seconds += ran.seconds
            self.step_count += ran.step_count
            self.row_count += ran.rows * ran.step_count
            self.batch_fill = ran.rows / self._limits.rows
        return ran.outputs

    # ---- The layer by layer path of guests ----

    def forward_layer(
        self, sequence: int, layer: int, hidden: NDArray[np.float32], position: int
    ) -> NDArray[np.float32]:
        """One layer on rows at positions position.. of a sequence opened for this path.

        hidden: float32 [rows, hidden]. Returns the rows after the layer, the same shape. The
        sequence's cache holds this layer's keys and values of the positions before.
        """
        (answer,) = self.forward_layers([LayerRows(sequence, layer, hidden, position)])
        if isinstance(answer, RealmError):
            raise answer
        return answer

    def forward_layers(
        self, calls: Items[LayerRows]
    ) -> list[NDArray[np.float32] | RequestError | ModelNotFoundError]:
        """As `forward_layer` for different sequences; each call's own rows, or its own error.

        Those of the same layer of the same model are computed together.
        """
        answers: dict[int, NDArray[np.float32] | RequestError | ModelNotFoundError] = {}
        groups: dict[tuple[str, int], list[tuple[Sequence, LayerRows]]] = {}
        for call in calls:
            try:
                state, found = self._find(call.sequence)
                self._check_length(state, call.position + len(call.hidden))
                prepare_layer(state, found, call)
            except (RequestError, ModelNotFoundError) as error:
                answers[id(call)] = error
                continue
            share = len(call.hidden) / state.model.hyperparameters.layer_count
            self._ledger.arrive(found.owner)
            self._ledger.charge(found.owner, share, decoding=False)
            groups.setdefault((state.model.content_hash, call.layer), []).append((found, call))
        for (content_hash, _), group in groups.items():
            rows = compute_layer(self._states[content_hash], self._team, group)
            answers.update((id(call), out) for (_, call), out in zip(group, rows, strict=True))
        return [answers[id(call)] for call in calls]

    # ---- Inside ----

    def _find(self, sequence: int) -> tuple[ModelState, Sequence]:
        try:
            state = self._state_of[sequence]
        except KeyError:
            raise ModelNotFoundError(f"no open sequence {sequence}") from None
        return state, state.sequences[sequence]

    def _check_length(self, state: ModelState, count: int) -> None:
        limit = state.cache.context_length
        if count > limit:
            raise ContextLengthError(f"{count} tokens exceed the context of {limit}")

    def _want(
        self,
        state: ModelState,
        found: Sequence,
        want: SamplingParameters | Want,
        allowed: Mask | None = None,
    ) -> None:
        if found.want is not None:
            raise RequestError("the sequence already waits for an answer")
        if not found.tokens:
            raise RequestError("the sequence has no tokens")
        # Logits come from computing the last token: when the cache holds it, it is computed again.
        found.computed = min(found.computed, len(found.tokens) - 1)
        found.paid = min(found.paid, found.computed)
        found.want, found.allowed = want, allowed
        state.ask(found)
