"""A stored model as a tenant meets it: a name, what is told of it, and how requests become ids.

Holds no state that a request changes; shared by all tenants that may use the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from realm.errors import ChatTemplateError

if TYPE_CHECKING:
    from realm.model import StoredModel
    from realm.session.chat import ChatTemplate

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class HostedModel:
    """`metadata` is the UTF-8 JSON of realm_get_model_metadata; `load_seconds` what loading took."""

    name: str
    stored: StoredModel
    metadata: bytes
    template: ChatTemplate | None
    load_seconds: float

    @property
    def vocabulary_size(self) -> int:
        return self.stored.hyperparameters.vocabulary_size

    @property
    def hidden_size(self) -> int:
        return self.stored.hyperparameters.hidden_size

    def encode(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """Token ids of a text. Raises TokenizerError."""
        return list(
            self.stored.tokenizer.encode(
                text, add_special=add_special, parse_special=parse_special
            )
        )

    def encode_prompt(self, text: str) -> list[int]:
        """A plain prompt: the model's own tokens are added, those that the text names stay text."""
        return self.encode(text, add_special=True, parse_special=False)

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """A conversation, ready for the assistant's turn; the template writes the special tokens."""
        return self.encode(self.render_chat(messages), add_special=False, parse_special=True)

    def render_chat(self, messages: Sequence[Message]) -> str:
        """Raises ChatTemplateError when the model has no template or refuses the messages."""
        if self.template is None:
            raise ChatTemplateError(f"model {self.name!r} has no chat template")
        return self.template.render(messages, add_generation_prompt=True)
