"""The engine: sequences, what each step computes, and the step itself."""

from realm.engine.engine import Engine
from realm.engine.layers import LayerRows
from realm.engine.output import StepOutput, TokenLogprobs
from realm.engine.speculation import SpeculationMetrics

__all__ = ["Engine", "LayerRows", "SpeculationMetrics", "StepOutput", "TokenLogprobs"]
