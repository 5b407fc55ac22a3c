"""The engine: sequences, what each step computes, and the step itself."""

from realm.engine.engine import Engine
from realm.engine.layers import LayerRows
from realm.engine.output import StepOutput, TokenLogprobs

__all__ = ["Engine", "LayerRows", "StepOutput", "TokenLogprobs"]
