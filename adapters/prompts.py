"""Examples as token ids, the way Realm itself turns a conversation into a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from voice import Example

from realm.model import ModelStorage
from realm.runtime.hosted_model import HostedModel


@dataclass(frozen=True, slots=True)
class Encoded:
    """token_ids: prompt and answer, the end of the turn last; the answer begins at answer_start."""

    token_ids: list[int]
    answer_start: int


class Prompts:
    """The tokenizer and the chat template of one model file."""

    def __init__(self, path: Path) -> None:
        """Reads the model's file."""
        self._model = HostedModel(path.name, ModelStorage(1).load(path), 0.0)
        end = self._model.stored.tokenizer.eos_id
        if end is None:
            raise ValueError(f"{path} names no end of a turn")
        self._end = end

    def encode(self, example: Example) -> Encoded:
        """A conversation of one turn; the template adds the model's own system message."""
        prompt = self._model.encode_chat([{"role": "user", "content": example.question}])
        answer = self._model.encode(example.answer, add_special=False, parse_special=False)
        return Encoded([*prompt, *answer, self._end], len(prompt))

    def encode_all(self, examples: Sequence[Example]) -> list[Encoded]:
        """In the examples' order."""
        return [self.encode(example) for example in examples]
