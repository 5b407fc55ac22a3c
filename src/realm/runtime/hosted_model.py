"""A stored model as a tenant meets it: a name, what is told of it, and how requests become ids.

Nothing that a request does changes its answers; any number of threads may use it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from realm.config import CachePrecision
from realm.errors import ChatTemplateError
from realm.model import StoredModel, TensorReader
from realm.runtime import _guest
from realm.session.chat import ChatTemplate

# Tokens whose bytes are kept at hand, as many as a conversation's language has.
_KNOWN_TOKENS = 16 << 10

Message = Mapping[str, Any]


class HostedModel:
    """`load_seconds`: what loading took, for the timings of its requests. cache_precision: of the
    engine that runs it.

    known_tokens: what `token_bytes` has given lately.
    """

    def __init__(
        self,
        name: str,
        stored: StoredModel,
        load_seconds: float,
        cache_precision: CachePrecision = "float16",
    ) -> None:
        self.name = name
        self.stored = stored
        self.load_seconds = load_seconds
        self._cache_precision = cache_precision
        self.known_tokens = _guest.TokenTable(_KNOWN_TOKENS)

    @property
    def vocabulary_size(self) -> int:
        """Token ids are 0 .. vocabulary_size - 1."""
        return self.stored.hyperparameters.vocabulary_size

    @property
    def context_length(self) -> int:
        """Most tokens of one text."""
        return self.stored.hyperparameters.context_length

    @property
    def hidden_size(self) -> int:
        """f32 values of one row between two layers."""
        return self.stored.hyperparameters.hidden_size

    @property
    def page_bytes(self) -> int:
        """Bytes of one cache page."""
        return self.stored.native.page_bytes(self._cache_precision)

    @cached_property
    def metadata(self) -> bytes:
        """UTF-8 JSON, the answer of realm_get_model_metadata, under the tenant's own name."""
        facts = json.loads(self.stored.metadata_json()) | {"name": self.name}
        return json.dumps(facts).encode(errors="replace")

    @cached_property
    def tensors(self) -> TensorReader:
        """The weights as numbers."""
        return TensorReader(self.stored)

    @cached_property
    def template(self) -> ChatTemplate | None:
        """The chat template, compiled at first use; None when the file has none.

        Raises ChatTemplateError when it cannot be compiled.
        """
        source = self.stored.chat_template
        if source is None:
            return None
        tokenizer = self.stored.tokenizer
        return ChatTemplate(
            source,
            bos_token=self._token_text(tokenizer.bos_id),
            eos_token=self._token_text(tokenizer.eos_id),
        )

    def encode(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """Token ids of a text. Raises TokenizerError."""
        return self.stored.tokenizer.encode(
            text, add_special=add_special, parse_special=parse_special
        )

    def encode_prompt(self, text: str) -> list[int]:
        """A plain prompt: the model's own tokens are added, those that the text names stay text."""
        return self.encode(text, add_special=True, parse_special=False)

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """A conversation up to the assistant's turn; the template writes the special tokens."""
        return self.encode(self.render_chat(messages), add_special=False, parse_special=True)

    def render_chat(self, messages: Sequence[Message]) -> str:
        """Raises ChatTemplateError when the model has no template or refuses the messages."""
        if self.template is None:
            raise ChatTemplateError(f"model {self.name!r} has no chat template")
        return self.template.render(messages, add_generation_prompt=True)

    def token_bytes(self, token_id: int) -> bytes:
        """What a token adds to a text that goes on: nothing for a control token."""
        known = self.known_tokens.find(token_id)
        if known is None:
            known = self.stored.tokenizer.decode_bytes(
                [token_id], skip_special=True, continuation=True
            )
            self.known_tokens.learn(token_id, known)
        return known

    def _token_text(self, token_id: int | None) -> str:
        if token_id is None:
            return ""
        return self.stored.tokenizer.token_bytes(token_id).decode(errors="replace")
