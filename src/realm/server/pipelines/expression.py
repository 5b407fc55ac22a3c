"""References and templates: read from a definition, and made into values when it runs.

A template is text with `{{ inputs.x }}` and `{{ steps.a.output }}` in it, and nothing else: no
expressions, no calls, no loops, and what is put in is never read as a template again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from realm.errors import PipelineError
from realm.server.pipelines.definition import Expression, Literally, Reference, Template

NAME = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"
MOST_CHARACTERS = 1 << 20
"""Of a text that a step is given."""

_PATH = re.compile(rf"(?:inputs\.(?P<input>{NAME})|steps\.(?P<step>{NAME})\.output)")
_FORMS = ("reference", "template", "value")


def read_expression(value: Any) -> Expression:
    """A text that begins with "$" is a reference, one with "{{" in it a template, all else a
    value; `{reference: ...}`, `{template: ...}` and `{value: ...}` say which it is. Raises
    PipelineError."""
    if isinstance(value, dict):
        if len(value) != 1 or next(iter(value)) not in _FORMS:
            raise PipelineError(f"an object here has one of {', '.join(_FORMS)}, and nothing else")
        form, inner = next(iter(value.items()))
        if form == "value":
            return Literally(inner)
        if not isinstance(inner, str):
            raise PipelineError(f"a {form} is text")
        return _reference(inner) if form == "reference" else _template(inner)
    if isinstance(value, str):
        if value.startswith("$"):
            return _reference(value)
        if "{{" in value:
            return _template(value)
    return Literally(value)


def _reference(text: str) -> Reference:
    if not text.startswith("$"):
        raise PipelineError("a reference begins with $")
    return _path(text[1:], text)


def _path(path: str, shown: str) -> Reference:
    match = _PATH.fullmatch(path)
    if match is None:
        raise PipelineError(f"{_short(shown)} is neither $inputs.NAME nor $steps.ID.output")
    if match["input"] is not None:
        return Reference("inputs", match["input"])
    return Reference("steps", match["step"])


def _template(text: str) -> Template:
    parts: list[str | Reference] = []
    place = 0
    while (start := text.find("{{", place)) >= 0:
        end = text.find("}}", start)
        if end < 0:
            raise PipelineError(f"{_short(text[start:])} is not closed with }}}}")
        if start > place:
            parts.append(text[place:start])
        parts.append(_path(text[start + 2 : end].strip(), text[start : end + 2]))
        place = end + 2
    if place < len(text):
        parts.append(text[place:])
    return Template(tuple(parts))


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}...")


def evaluate(expression: Expression, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Any:
    """Its value. Raises PipelineError for a text that would be too long."""
    if isinstance(expression, Literally):
        return expression.value
    if isinstance(expression, Reference):
        return (inputs if expression.source == "inputs" else outputs)[expression.name]
    texts: list[str] = []
    length = 0
    for part in expression.parts:
        text = part if isinstance(part, str) else text_of(evaluate(part, inputs, outputs))
        length += len(text)
        if length > MOST_CHARACTERS:
            raise PipelineError(f"its text is longer than {MOST_CHARACTERS} characters")
        texts.append(text)
    return "".join(texts)


def text_of(value: Any) -> str:
    """Text as it stands, nothing for null, else JSON. Raises PipelineError for what is nested too
    deeply."""
    if value is None:
        return ""
    try:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except RecursionError:
        raise PipelineError("a value is nested too deeply") from None
