"""One request as it travels from a caller to the engine thread: checked, complete, immutable."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from realm.config import GenerationOptions
from realm.errors import RequestError
from realm.runtime.hosted_model import HostedModel, Message


@dataclass(frozen=True, slots=True)
class Request:
    """Exactly one of prompt, messages and token_ids is set."""

    model: HostedModel
    options: GenerationOptions
    prompt: str | None = None
    messages: tuple[Message, ...] | None = None
    token_ids: tuple[int, ...] | None = None

    def prompt_token_ids(self) -> list[int]:
        """The ids that a direct session starts from. Raises TokenizerError, ChatTemplateError."""
        if self.token_ids is not None:
            return list(self.token_ids)
        if self.messages is not None:
            return self.model.encode_chat(self.messages)
        assert self.prompt is not None
        return self.model.encode_prompt(self.prompt)

    def to_json(self) -> bytes:
        """What a guest's realm_handle receives. Raises RequestError for what JSON cannot hold."""
        options: dict[str, Any] = {
            "max_tokens": self.options.max_tokens,
            "stop": self.options.stop,
            "stop_token_ids": self.options.stop_token_ids,
            "ignore_eos": self.options.ignore_eos,
            "temperature": self.options.sampling.temperature,
            "top_p": self.options.sampling.top_p,
            "top_k": self.options.sampling.top_k,
        }
        document: dict[str, Any] = {"model": self.model.name, "options": options}
        if self.messages is not None:
            document["messages"] = self.messages
        elif self.token_ids is not None:
            document["token_ids"] = self.token_ids
        else:
            document["prompt"] = self.prompt
        try:
            text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            return text.encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise RequestError(f"the request is not JSON: {error}") from None


def make_request(
    model: HostedModel,
    options: GenerationOptions,
    *,
    prompt: str | None,
    messages: Sequence[Message] | None,
    token_ids: Sequence[int] | None,
) -> Request:
    """Raises RequestError saying which part of the request is wrong."""
    given = [
        name
        for name, value in (("prompt", prompt), ("messages", messages), ("token_ids", token_ids))
        if value is not None
    ]
    if len(given) != 1:
        raise RequestError(
            f"one of prompt, messages and token_ids is needed, not {given or 'none'}"
        )
    if prompt is not None and not isinstance(prompt, str):
        raise RequestError(f"prompt must be text, not {type(prompt).__name__}")
    if messages is not None:
        if not messages:
            raise RequestError("messages is empty")
        for place, message in enumerate(messages):
            if not hasattr(message, "keys"):
                raise RequestError(
                    f"messages[{place}] must be a mapping, not {type(message).__name__}"
                )
        messages = tuple(dict(message) for message in messages)
        # Compiling it costs tens of milliseconds, which the engine thread should not spend.
        _ = model.template
    if token_ids is not None:
        token_ids = tuple(int(number) for number in token_ids)
        for place, number in enumerate(token_ids):
            if not 0 <= number < model.vocabulary_size:
                raise RequestError(
                    f"token_ids[{place}] is {number}, the vocabulary has {model.vocabulary_size}"
                )
        if not token_ids:
            raise RequestError("token_ids is empty")
    return Request(model, options, prompt, messages, token_ids)
