"""What a caller can set: models, generation, engine. Plain frozen data, checked when it is made."""

from realm.config.engine import CachePrecision, EngineConfig
from realm.config.generation import GenerationOptions, SamplingParameters
from realm.config.model import ModelConfig
from realm.config.speculation import SpeculativeConfig

__all__ = [
    "CachePrecision",
    "EngineConfig",
    "GenerationOptions",
    "ModelConfig",
    "SamplingParameters",
    "SpeculativeConfig",
]
