"""Generation on the host: one sequence from its prompt to its end.

The session asks the engine for tokens and turns them into text; it never runs a step itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from realm.config import GenerationOptions
from realm.engine import Engine, StepOutput, TokenLogprobs
from realm.errors import ContextLengthError, RealmError
from realm.model import DraftModel, StoredModel, WeightedAdapter
from realm.session.constraint import Constraint, ConstraintCompiler
from realm.session.stop import StopMatcher


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that became certain, and the tokens that were sampled for it.

    logprobs: one for each of token_ids that was sampled, when the request asks for them.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprobs, ...] = ()


class InferenceSession:
    """Decodes one prompt. Use: `start`, then `advance` with every output of its sequence.

    owner: who the sequence is scheduled for.
    finish_reason: "" while it runs, then "stop", "length", "error" or "cancelled".
    """

    def __init__(
        self,
        engine: Engine,
        model: StoredModel,
        prompt_token_ids: Sequence[int],
        options: GenerationOptions,
        owner: str,
        *,
        constraint: Constraint | None = None,
        priority: int = 0,
        adapters: Sequence[WeightedAdapter] = (),
        draft: DraftModel | None = None,
    ) -> None:
        """Opens a sequence; raises RequestError or ContextLengthError, and then holds none.

        priority, adapters, draft: as in `Engine.open`.

        constraint: the compiled one of the options, at its beginning and used by this session
        alone; compiled here when it is left out and the options have one (ConstraintError).
        """
        self._constraint = constraint or ConstraintCompiler().compile(model, options)
        self._engine = engine
        self._options = options
        self._end_ids = frozenset(options.stop_token_ids)
        if not options.ignore_eos:
            self._end_ids |= model.tokenizer.end_of_generation_ids
        self._decoder = model.tokenizer.stream(skip_special=True, continuation=True)
        self._stop = StopMatcher(options.stop)
        self._token_ids: list[int] = []
        self._logprobs: list[TokenLogprobs] = []
        self.finish_reason = ""
        self.sequence = engine.open(
            model, owner, priority, adapters, draft_k=options.draft_k, draft=draft
        )
        self._open = True
        try:
            engine.append(self.sequence, prompt_token_ids)
        except BaseException:
            self.close()
            raise

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Every sampled token, an end-of-generation token excepted."""
        return tuple(self._token_ids)

    @property
    def logprobs(self) -> tuple[TokenLogprobs, ...] | None:
        """One for each of `token_ids`; None when the policy does not ask for them."""
        return None if self._options.sampling.logprobs is None else tuple(self._logprobs)

    @property
    def finished(self) -> bool:
        """Whether the generation has ended."""
        return bool(self.finish_reason)

    def start(self) -> None:
        """Ask for the first token."""
        if self._constraint is None:
            more = self._options.max_tokens - len(self._token_ids) - 1
            self._engine.sample(self.sequence, self._options.sampling, more=more)
        else:
            allowed, masks_after = self._constraint.allowed(), self._constraint.allowed_after
            self._engine.sample(self.sequence, self._options.sampling, allowed, masks_after)

    def advance(self, output: StepOutput) -> list[Piece]:
        """Take the sequence's output, ask for the next token; the text that became certain.

        Raises the output's error after closing the sequence.
        """
        if output.error is not None:
            self._finish("error")
            raise output.error
        pieces: list[Piece] = []
        for index, token in enumerate(output.token_ids):
            if token in self._end_ids:
                return self._end(pieces, "stop")
            logprobs = output.logprobs[index : index + 1]
            self._token_ids.append(token)
            self._logprobs += logprobs
            text = self._stop.push(self._decoder.push(token))
            pieces.append(Piece(text, (token,), logprobs))
            if self._stop.matched:
                self._finish("stop")
                return pieces
            if self._completes(token):
                return self._end(pieces, "stop")
            if len(self._token_ids) >= self._options.max_tokens:
                return self._end(pieces, "length")
        try:
            self.start()
        except ContextLengthError:
            return self._end(pieces, "length")
        except RealmError:
            self._finish("error")
            raise
        return pieces

    def _completes(self, token: int) -> bool:
        """Moves the constraint on; whether the output is whole with this token."""
        if self._constraint is None:
            return False
        try:
            self._constraint.accept(token)
        except RealmError:
            self._finish("error")
            raise
        return self._constraint.complete

    def cancel(self) -> None:
        """End it now."""
        if not self.finished:
            self._finish("cancelled")

    def close(self) -> None:
        """Free the sequence. Safe to call again."""
        if self._open:
            self._open = False
            self._engine.close(self.sequence)

    def _end(self, pieces: list[Piece], reason: str) -> list[Piece]:
        text = self._stop.push(self._decoder.finish())
        if not self._stop.matched:
            text += self._stop.finish()
        if text:
            pieces.append(Piece(text))
        self._finish("stop" if self._stop.matched else reason)
        return pieces

    def _finish(self, reason: str) -> None:
        self.finish_reason = reason
        self.close()
