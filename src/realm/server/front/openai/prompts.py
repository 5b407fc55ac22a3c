"""Prompts of requests: messages and lists of texts or token ids, checked place by place."""

from __future__ import annotations

from typing import Any

from realm.errors import FieldError
from realm.server.front.openai.requests import MOST_CHOICES, ChatRequest, Message

Prompt = str | list[int]


def chat_messages(request: ChatRequest) -> list[dict[str, Any]]:
    """Roles and texts, as chat templates read them. Raises FieldError for what is not text."""
    if request.tools:
        raise FieldError("tools: are not offered", "tools")
    if request.functions:
        raise FieldError("functions: are not offered", "functions")
    if request.modalities is not None and request.modalities != ["text"]:
        raise FieldError("modalities: only text is offered", "modalities")
    return [_message(each, f"messages[{place}]") for place, each in enumerate(request.messages)]


def prompts_of(given: str | list[Any], field: str) -> list[Prompt]:
    """One prompt or several. Raises FieldError for a list of unlike things."""
    if isinstance(given, str):
        return [given]
    if all(isinstance(each, int) for each in given):
        return [given]
    kind = type(given[0])
    if kind is int or any(type(each) is not kind for each in given):
        raise FieldError(f"{field}: texts, token ids and lists of those do not mix", field)
    for place, each in enumerate(given):
        if kind is list and not each:
            raise FieldError(f"{field}[{place}]: is empty", f"{field}[{place}]")
    return list(given)


def check_choices(prompt_count: int, n: int) -> None:
    """Raises FieldError for more answers than one request may have."""
    if prompt_count * n > MOST_CHOICES:
        raise FieldError(f"n: more than {MOST_CHOICES} answers in one request", "n")


def _message(message: Message, place: str) -> dict[str, Any]:
    if message.role in ("tool", "function"):
        raise FieldError(f"{place}.role: {message.role} is not offered", f"{place}.role")
    if message.tool_calls:
        raise FieldError(f"{place}.tool_calls: are not offered", f"{place}.tool_calls")
    # A developer's message is what older models know as the system's.
    role = "system" if message.role == "developer" else message.role
    content = message.content
    if content is None:
        raise FieldError(f"{place}.content: is missing", f"{place}.content")
    if isinstance(content, str):
        return {"role": role, "content": content}
    texts = []
    for number, part in enumerate(content):
        where = f"{place}.content[{number}]"
        if part.type != "text":
            raise FieldError(f"{where}.type: only text is offered", f"{where}.type")
        if part.text is None:
            raise FieldError(f"{where}.text: is missing", f"{where}.text")
        texts.append(part.text)
    return {"role": role, "content": "".join(texts)}
