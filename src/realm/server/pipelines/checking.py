"""From plain data to a pipeline, or to an error that names file, step and field."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from realm.errors import PipelineError
from realm.server.definitions import ItemName
from realm.server.pipelines.definition import (
    Expression,
    InputKind,
    ModelType,
    Pipeline,
    PipelineInput,
    Step,
    references,
)
from realm.server.pipelines.document import read_document
from realm.server.pipelines.expression import NAME, read_expression
from realm.server.pipelines.input_values import fits
from realm.server.text_options import TextOptions

_Name = Annotated[str, msgspec.Meta(pattern=rf"^{NAME}\Z")]
_ModelName = Annotated[str, msgspec.Meta(min_length=1, max_length=201)]
_Line = Annotated[str, msgspec.Meta(max_length=200)]
_Description = Annotated[str, msgspec.Meta(max_length=4000)]
_Document = TypeVar("_Document", bound=msgspec.Struct)


class _PipelineDocument(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    id: ItemName
    name: _Line = ""
    description: _Description = ""
    inputs: Annotated[dict[_Name, Any], msgspec.Meta(max_length=64)] = {}
    steps: Annotated[list[Any], msgspec.Meta(min_length=1, max_length=64)]
    output: Any


class _InputDocument(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    type: InputKind = "string"
    required: bool | None = None
    default: Any = None
    description: _Description = ""


class _StepDocument(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    id: _Name
    input: Any
    model: _ModelName | None = None
    model_type: ModelType | None = None
    system: Any = None
    options: dict[str, Any] | None = None


def read_pipeline(path: Path) -> Pipeline:
    """The file's pipeline. Raises PipelineError."""
    return check_pipeline(read_document(path), path.name)


def check_pipeline(document: Any, name: str) -> Pipeline:
    """name: of the file, for errors. Raises PipelineError."""
    raw = _convert(document, _PipelineDocument, name)
    inputs = {key: _check_input(key, value, name) for key, value in raw.inputs.items()}
    drafts = [_check_step(value, place, name) for place, value in enumerate(raw.steps)]
    _check_order(drafts, inputs, name)
    output = _check_output(raw.output, {step.step_id for step in drafts}, inputs, name)
    return Pipeline(raw.id, raw.name or raw.id, raw.description, inputs, tuple(drafts), output)


def _check_input(key: str, value: Any, name: str) -> PipelineInput:
    where = f"{name}: input {key!r}"
    raw = _convert(value, _InputDocument, where)
    has_default = raw.default is not None
    if has_default and raw.required:
        raise PipelineError(f"{where}: required: an input with a default is not required")
    if has_default and not fits(raw.default, raw.type):
        raise PipelineError(f"{where}: default: not a value of type {raw.type!r}")
    is_required = not has_default if raw.required is None else raw.required
    return PipelineInput(key, raw.type, is_required, raw.default, raw.description)


def _check_step(value: Any, place: int, name: str) -> Step:
    where = f"{name}: step {place + 1}"
    if isinstance(value, dict) and isinstance(value.get("id"), str):
        where = f"{name}: step {value['id'][:64]!r}"
    raw = _convert(value, _StepDocument, where)
    if raw.model is None and raw.model_type is None:
        raise PipelineError(f"{where}: a step needs `model` or `model_type`")
    model_type = raw.model_type or "chat"
    if raw.system is not None and model_type != "chat":
        raise PipelineError(f"{where}: system: only a chat has a system message")
    if raw.options is not None and model_type == "embedding":
        raise PipelineError(f"{where}: options: an embedding has none")
    if model_type == "embedding" and raw.model is not None and ":" in raw.model:
        raise PipelineError(f"{where}: model: embeddings have no adapters")
    options = _convert(raw.options or {}, TextOptions, f"{where}: options")
    if options.adapter is not None and raw.model is not None and ":" in raw.model:
        raise PipelineError(f"{where}: options.adapter: the model names an adapter already")
    expression = _expression(raw.input, f"{where}: input")
    system = None if raw.system is None else _expression(raw.system, f"{where}: system")
    needs = {each.name for each in _references(expression, system) if each.source == "steps"}
    return Step(
        raw.id,
        raw.model,
        model_type,
        system,
        expression,
        None if model_type == "embedding" else options,
        frozenset(needs),
    )


def _check_order(steps: list[Step], inputs: Mapping[str, PipelineInput], name: str) -> None:
    """Raises for ids that stand twice and for references to nothing, to later steps, in a ring, or
    to vectors."""
    by_id: dict[str, Step] = {}
    for step in steps:
        if step.step_id in by_id:
            raise PipelineError(f"{name}: step {step.step_id!r}: id: two steps are called so")
        by_id[step.step_id] = step
    done: set[str] = set()
    for step in steps:
        for field, expression in (("input", step.value), ("system", step.system)):
            where = f"{name}: step {step.step_id!r}: {field}"
            for each in references(expression):
                if each.source == "inputs":
                    if each.name not in inputs:
                        raise PipelineError(f"{where}: {each}: there is no such input")
                elif each.name not in by_id:
                    raise PipelineError(f"{where}: {each}: there is no such step")
                elif each.name not in done:
                    ring = _ring(step.step_id, by_id)
                    raise PipelineError(f"{where}: {each}: {ring or 'a later step'}")
                elif by_id[each.name].model_type == "embedding":
                    raise PipelineError(f"{where}: {each}: a vector is not text")
        done.add(step.step_id)


def _ring(start: str, steps: Mapping[str, Step]) -> str:
    """The ring of references that leads back to a step, in words; "" when there is none."""
    came_from: dict[str, str] = {}
    waiting = [start]
    while waiting:
        here = waiting.pop()
        for needed in sorted(steps[here].needs & steps.keys()):
            if needed == start:
                ring = [here]
                while ring[-1] != start:
                    ring.append(came_from[ring[-1]])
                return f"the steps wait for each other: {' -> '.join([*reversed(ring), start])}"
            if needed not in came_from:
                came_from[needed] = here
                waiting.append(needed)
    return ""


def _check_output(
    value: Any, step_ids: set[str], inputs: Mapping[str, PipelineInput], name: str
) -> Expression | dict[str, Expression]:
    where = f"{name}: output"
    if isinstance(value, str):
        return _output_part(value, step_ids, inputs, where)
    if not isinstance(value, dict) or not 0 < len(value) <= 64:
        raise PipelineError(f"{where}: must be a reference, a template, or several by name")
    return {
        key: _output_part(part, step_ids, inputs, f"{where}.{key[:64]}")
        for key, part in value.items()
    }


def _output_part(
    value: Any, step_ids: set[str], inputs: Mapping[str, PipelineInput], where: str
) -> Expression:
    expression = _expression(value, where)
    found = references(expression)
    if not found:
        raise PipelineError(f"{where}: must be a reference or a template")
    for each in found:
        if each.name not in (inputs if each.source == "inputs" else step_ids):
            kind = "input" if each.source == "inputs" else "step"
            raise PipelineError(f"{where}: {each}: there is no such {kind}")
    return expression


def _expression(value: Any, where: str) -> Expression:
    try:
        return read_expression(value)
    except PipelineError as error:
        raise PipelineError(f"{where}: {error}") from None


def _references(*expressions: Expression | None) -> list[Any]:
    return [each for expression in expressions for each in references(expression)]


def _convert(value: Any, kind: type[_Document], where: str) -> _Document:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        field = place.rstrip("`").removeprefix(".")
        raise PipelineError(f"{where}: {f'{field}: ' if field else ''}{reason}") from None
