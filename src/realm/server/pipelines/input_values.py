"""What a pipeline is given, against what it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from realm.errors import PipelineInputError
from realm.server.pipelines.definition import InputKind, Pipeline

_TYPES: dict[InputKind, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def fits(value: Any, kind: InputKind) -> bool:
    """Whether the value is of that type; true and false are no numbers, NaN is none either."""
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(value, _TYPES[kind])


def checked_inputs(pipeline: Pipeline, given: Any) -> dict[str, Any]:
    """Every input with its value. Raises PipelineInputError, which names it.

    given: an object, or the value itself of a pipeline that needs exactly one input.
    """
    inputs = pipeline.inputs
    if not isinstance(given, Mapping):
        needed = [name for name, each in inputs.items() if each.is_required]
        if len(needed) != 1 or not fits(given, inputs[needed[0]].kind):
            text = f"an object is wanted, with {', '.join(inputs) or 'nothing in it'}"
            raise PipelineInputError(text, "input")
        given = {needed[0]: given}
    for name in given:
        if name not in inputs:
            takes = ", ".join(inputs) or "none"
            text = f"the pipeline has no input {str(name)[:64]!r}; it takes {takes}"
            raise PipelineInputError(text, f"input.{str(name)[:64]}")
    found: dict[str, Any] = {}
    for name, each in inputs.items():
        value = given.get(name)
        if value is None:
            if each.is_required:
                raise PipelineInputError(f"the input {name!r} is missing", f"input.{name}")
            value = each.default
        elif not fits(value, each.kind):
            text = f"the input {name!r} must be of type {each.kind!r}"
            raise PipelineInputError(text, f"input.{name}")
        found[name] = value
    return found
