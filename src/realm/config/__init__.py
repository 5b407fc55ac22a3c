"""What a caller can set: models, generation, engine. Plain frozen data, checked when it is made."""

from realm.config.engine import EngineConfig
from realm.config.generation import GenerationOptions, SamplingParameters
from realm.config.model import ModelConfig
from realm.config.speculation import SpeculativeConfig

__all__ = [
    "EngineConfig",
    "GenerationOptions",
    "ModelConfig",
    "SamplingParameters",
    "SpeculativeConfig",
]
