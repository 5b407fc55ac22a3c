"""A pipeline as it is run: checked, frozen, with nothing left to look up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from realm.server.text_options import TextOptions

InputKind = Literal["string", "integer", "number", "boolean", "array", "object"]
ModelType = Literal["chat", "completion", "embedding"]
Source = Literal["inputs", "steps"]


@dataclass(frozen=True, slots=True)
class Reference:
    """An input's value ("inputs") or a step's output ("steps"), by its name."""

    source: Source
    name: str

    def __str__(self) -> str:
        return f"$inputs.{self.name}" if self.source == "inputs" else f"$steps.{self.name}.output"


@dataclass(frozen=True, slots=True)
class Template:
    """Texts and references in turn; together they are one text."""

    parts: tuple[str | Reference, ...]


@dataclass(frozen=True, slots=True)
class Literally:
    """A value as it stands."""

    value: Any


Expression = Reference | Template | Literally


@dataclass(frozen=True, slots=True)
class PipelineInput:
    """default: None when there is none."""

    name: str
    kind: InputKind
    is_required: bool
    default: Any
    description: str


@dataclass(frozen=True, slots=True)
class Step:
    """model: `model` or `model:adapter`; None takes the first that fits model_type.

    system: a system message, for chats. options: None for embeddings. needs: the steps whose
    outputs it reads.
    """

    step_id: str
    model: str | None
    model_type: ModelType
    system: Expression | None
    value: Expression
    options: TextOptions | None
    needs: frozenset[str]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """steps: each after those that it needs. output: of the whole, or several by name."""

    pipeline_id: str
    name: str
    description: str
    inputs: dict[str, PipelineInput]
    steps: tuple[Step, ...]
    output: Expression | dict[str, Expression]

    def document(self) -> dict[str, Any]:
        """What a client may know of it: what it takes and which steps there are, not their
        texts."""
        return {
            "id": self.pipeline_id,
            "name": self.name,
            "description": self.description,
            "inputs": {each.name: _input_document(each) for each in self.inputs.values()},
            "steps": [
                {"id": step.step_id, "model": step.model, "model_type": step.model_type}
                for step in self.steps
            ],
            "outputs": sorted(self.output) if isinstance(self.output, dict) else None,
        }


def _input_document(found: PipelineInput) -> dict[str, Any]:
    return {
        "type": found.kind,
        "required": found.is_required,
        "default": found.default,
        "description": found.description,
    }


def references(expression: Expression | None) -> tuple[Reference, ...]:
    """Those that stand in it, in order."""
    if isinstance(expression, Reference):
        return (expression,)
    if isinstance(expression, Template):
        return tuple(part for part in expression.parts if isinstance(part, Reference))
    return ()
