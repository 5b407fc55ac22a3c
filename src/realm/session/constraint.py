"""Constrained output: a JSON schema, a regex or a grammar as a mask of allowed tokens.

The automaton is llguidance's (https://github.com/guidance-ai/llguidance); it is imported when the
first constraint is compiled, never before. A constraint looks at the output's tokens alone, never
at the prompt, and it never draws a token itself.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from realm.config import GenerationOptions
from realm.errors import ConstraintError
from realm.session.constraint_source import read_constraint

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

    from realm.model import StoredModel
    from realm.model.tokenizer import Tokenizer

_MESSAGE_CHARACTERS: Final = 300


class Constraint:
    """Where one output stands in its grammar.

    `allowed` is the mask for the next token, `accept` moves on by a token that was chosen.
    """

    def __init__(self, matcher: LLMatcher, end_ids: frozenset[int], vocabulary_size: int) -> None:
        self._matcher = matcher
        self._end_ids = end_ids
        self._word_count = -(-vocabulary_size // 32)
        self._accepted = 0

    @property
    def complete(self) -> bool:
        """Whether the output is whole and nothing but an end-of-generation token may follow."""
        return bool(self._matcher.is_stopped() and not self._matcher.is_error())

    @property
    def accepted(self) -> int:
        """How many tokens it has moved on by."""
        return self._accepted

    def allowed(self) -> NDArray[np.uint32]:
        """The tokens that may come next: uint32 [ceil(vocabulary / 32)], the lowest bit first.

        End-of-generation tokens are among them only where the output is whole. Raises
        ConstraintError when the grammar needs more work than a mask may cost.
        """
        mask = np.zeros(self._word_count, np.uint32)
        if self._matcher.is_stopped():
            self._check()
            for token in self._end_ids:
                mask[token // 32] |= np.uint32(1 << token % 32)
            return mask
        data = self._matcher.compute_bitmask()
        self._check()
        words = np.frombuffer(data, np.uint32)[: self._word_count]
        mask[: len(words)] = words
        return mask

    def admits(self, token_ids: Sequence[int]) -> bool:
        """Whether it can move on by these tokens; it stays where it is."""
        return bool(self._matcher.validate_tokens(list(token_ids)) == len(token_ids))

    def accept(self, token_id: int) -> None:
        """Move on by one token. Raises ConstraintError when the grammar does not allow it there."""
        if token_id in self._end_ids and self._matcher.is_stopped():
            self._check()
            return
        if not self._matcher.consume_token(token_id):
            self._check()
            raise ConstraintError(f"the constraint does not allow token {token_id} here")
        self._accepted += 1

    def allowed_after(self, token_ids: Sequence[int]) -> list[NDArray[np.uint32]]:
        """The masks after each of these tokens, up to the first that may not come; it stays here.

        Raises ConstraintError as `allowed` does.
        """
        before, masks = self._accepted, []
        try:
            for token in token_ids:
                if not self.admits([token]):
                    break
                self.accept(token)
                masks.append(self.allowed())
        finally:
            self.rewind(before)
        return masks

    def rewind(self, accepted: int) -> None:
        """Go back to where it had moved on by this many tokens (0..accepted)."""
        if not self._matcher.rollback(self._accepted - accepted):
            self._check()
        self._accepted = accepted

    def copy(self) -> Constraint:
        """A constraint that stands at the same place and goes its own way."""
        copy = Constraint(self._matcher.deep_copy(), self._end_ids, 32 * self._word_count)
        copy._accepted = self._accepted
        return copy

    def _check(self) -> None:
        if self._matcher.is_error():
            raise ConstraintError(f"the constraint failed: {_first_line(self._matcher)}")


class ConstraintCompiler:
    """Makes constraints of requests; keeps what it knows of each model's tokens.

    Any number of threads may use one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokenizers: dict[str, LLTokenizer] = {}

    def compile(self, model: StoredModel, options: GenerationOptions) -> Constraint | None:
        """The constraint of a request, at its beginning; None when it has none.

        The first one of a model takes 0.3 s to 2 s for its vocabulary. Raises ConstraintError
        that names what is wrong with the schema, regex or grammar.
        """
        source = read_constraint(options)
        if source is None:
            return None
        # An optional weight of 10 MB and 30 ms, for requests with constraints alone.
        from llguidance import LLMatcher, LLParserLimits  # noqa: PLC0415

        end_ids = model.tokenizer.end_of_generation_ids
        if not end_ids:
            raise ConstraintError(f"model {model.name!r} has no end-of-generation token")
        # Counted in llguidance's own steps; usual schemas stay far below. A mask costs about 20 ms
        # at the very worst, an automaton 50 MB.
        limits = LLParserLimits(
            initial_lexer_fuel=1_000_000,
            step_lexer_fuel=100_000,
            step_max_items=10_000,
            max_lexer_states=20_000,
            max_grammar_size=100_000,
            verbose_errors=False,
        )
        text = source.text
        if source.name == "regex":
            text = LLMatcher.grammar_from_regex(text)
        matcher = LLMatcher(self._tokenizer(model), text, log_level=0, limits=limits)
        if not matcher.is_error() and not matcher.is_stopped():
            matcher.compute_bitmask()  # finds what only the first token shows
        if matcher.is_error():
            raise ConstraintError(f"{source.name}: {_first_line(matcher)}")
        return Constraint(matcher, end_ids, model.hyperparameters.vocabulary_size)

    def forget(self, model: StoredModel) -> None:
        """Keep nothing of a model that is no longer stored."""
        with self._lock:
            self._tokenizers.pop(model.content_hash, None)

    def _tokenizer(self, model: StoredModel) -> LLTokenizer:
        with self._lock:
            if model.content_hash not in self._tokenizers:
                self._tokenizers[model.content_hash] = _read_tokens(model)
            return self._tokenizers[model.content_hash]


class _Vocabulary:
    """A tokenizer as llguidance takes it: bytes of every token, and text to ids."""

    is_tokenizer_wrapper = True

    def __init__(self, tokenizer: Tokenizer, count: int) -> None:
        self.tokens = [
            tokenizer.decode_bytes([number], skip_special=True, continuation=True)
            for number in range(min(count, tokenizer.vocabulary_size))
        ]
        self.tokens += [b""] * (count - len(self.tokens))
        self.special_token_ids = [number for number, each in enumerate(self.tokens) if not each]
        self.eos_token_id = min(tokenizer.end_of_generation_ids)
        self.bos_token_id = tokenizer.bos_id
        self.greedy: LLTokenizer | None = None
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> Sequence[int]:
        """Ids whose bytes are the text's. Must not raise: its caller is not Python."""
        wanted = text.encode(errors="replace")
        ids = self._tokenizer.encode(wanted.decode(), add_special=False)
        if b"".join(self.tokens[number] for number in ids) == wanted:
            return ids
        # Some vocabularies write a space before a text that does not begin with one.
        return [] if self.greedy is None else self.greedy.greedy_tokenize(wanted.decode())


def _read_tokens(model: StoredModel) -> LLTokenizer:
    from llguidance import LLTokenizer  # noqa: PLC0415

    count = model.hyperparameters.vocabulary_size
    vocabulary = _Vocabulary(model.tokenizer, count)
    end_ids = sorted(model.tokenizer.end_of_generation_ids)
    tokenizer = LLTokenizer(vocabulary, n_vocab=count, eos_token=end_ids)  # type: ignore[arg-type]
    vocabulary.greedy = tokenizer
    return tokenizer


def _first_line(matcher: LLMatcher) -> str:
    text = re.sub(r"\s+", " ", matcher.get_error().replace("<non-verbose/>", "")).strip()
    if text.startswith("NoExtension"):
        return "no text satisfies it"
    return text[:_MESSAGE_CHARACTERS] or matcher.stop_reason()
