"""Conversations to prompts, with the chat template of a model file.

A template is a Jinja program that comes with the file and is not trusted: it runs in a sandbox
with a bounded amount of work (realm.session.template_sandbox). Never reads the clock: the time a
template may print is passed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from realm.errors import ChatTemplateError

TEMPLATE_CHARACTERS: Final = 256 * 1024
_VALUE_DEPTH: Final = 32


class ChatTemplate:
    """A compiled template. Immutable: any number of threads may render it at a time."""

    __slots__ = ("_bos_token", "_eos_token", "_template")

    def __init__(self, source: str, *, bos_token: str, eos_token: str) -> None:
        """source: the text of `tokenizer.chat_template`. Raises ChatTemplateError."""
        if not isinstance(source, str):
            raise ChatTemplateError(f"the chat template is a {type(source).__name__}, not text")
        if len(source) > TEMPLATE_CHARACTERS:
            raise ChatTemplateError(
                f"the chat template has {len(source)} characters; at most {TEMPLATE_CHARACTERS} "
                f"are read"
            )
        # Jinja costs some 50 ms and 11 MB, which only those who use a template should pay.
        from realm.session.template_sandbox import CompiledTemplate  # noqa: PLC0415

        self._template = CompiledTemplate(source)
        self._bos_token = bos_token
        self._eos_token = eos_token

    def render(
        self,
        messages: Sequence[Mapping[str, object]],
        *,
        add_generation_prompt: bool = True,
        now: datetime | None = None,
        variables: Mapping[str, object] | None = None,
    ) -> str:
        """The prompt of a conversation.

        messages: in order, each with the texts `role` and `content`; more keys hold plain JSON
        values. now: what `strftime_now` prints; without it a template finds no such function and
        takes its own default. variables: more plain values for the template, such as `tools`.

        Raises ChatTemplateError if the messages are malformed, the template refuses them, or it
        does more work than so long a conversation can need.
        """
        if not messages:
            raise ChatTemplateError("a conversation has at least one message")
        context = {
            **{name: _plain(value, name) for name, value in (variables or {}).items()},
            "messages": [_check_message(message, i) for i, message in enumerate(messages)],
            "add_generation_prompt": bool(add_generation_prompt),
            "bos_token": self._bos_token,
            "eos_token": self._eos_token,
        }
        return self._template.render(context, len(messages), now)


def _check_message(message: Mapping[str, object], index: int) -> object:
    if not isinstance(message, Mapping):
        raise ChatTemplateError(f"messages[{index}] is a {type(message).__name__}, not a mapping")
    for key in ("role", "content"):
        if key not in message:
            raise ChatTemplateError(f"messages[{index}] has no {key}")
        if not isinstance(message[key], str):
            kind = type(message[key]).__name__
            raise ChatTemplateError(f"messages[{index}].{key} is a {kind}, not text")
    return _plain(message, f"messages[{index}]")


def _plain(value: object, where: str, depth: int = 0) -> object:
    """A copy made of nothing but JSON's own types, which have no way out of a sandbox."""
    if depth > _VALUE_DEPTH:
        raise ChatTemplateError(f"{where} is nested more than {_VALUE_DEPTH} levels deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int | float):
        return float(value) if isinstance(value, float) else int(value)
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ChatTemplateError(f"{where} has a key that is not text")
        return {str(k): _plain(each, f"{where}.{k}", depth + 1) for k, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, f"{where}[{i}]", depth + 1) for i, each in enumerate(value)]
    raise ChatTemplateError(f"{where} is a {type(value).__name__}, not a plain JSON value")
