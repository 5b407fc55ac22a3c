"""How tokens are chosen, and when a generation ends."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from realm.errors import ConfigError


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True, slots=True)
class SamplingParameters:
    """The policy of one draw. Applied in this order: penalties, temperature, top_k, top_p, min_p.

    temperature: 0 takes the most likely token (the lowest id on ties).
    top_k: keep the k most likely tokens; 0 keeps all.
    top_p: keep the fewest most likely tokens whose probabilities sum to at least top_p.
    min_p: keep the tokens at least min_p times as likely as the most likely one.
    repetition_penalty: divides positive and multiplies negative logits of tokens that were seen.
    presence_penalty, frequency_penalty: subtracted once, and once an occurrence, from the logits
        of generated tokens (OpenAI's definition).
    seed: together with a token's position it fixes the noise of the draw.
    """

    temperature: float = 0.7
    top_k: int = 0
    top_p: float = 0.9
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        _require(
            math.isfinite(self.temperature) and self.temperature >= 0.0,
            f"temperature must be a number >= 0, not {self.temperature}",
        )
        _require(0 <= self.top_k < 2**31, f"top_k must be >= 0, not {self.top_k}")
        _require(0.0 < self.top_p <= 1.0, f"top_p must be in (0, 1], not {self.top_p}")
        _require(0.0 <= self.min_p <= 1.0, f"min_p must be in [0, 1], not {self.min_p}")
        _require(
            math.isfinite(self.repetition_penalty) and self.repetition_penalty > 0.0,
            f"repetition_penalty must be a number > 0, not {self.repetition_penalty}",
        )
        for name in ("presence_penalty", "frequency_penalty"):
            _require(math.isfinite(getattr(self, name)), f"{name} must be a finite number")
        _require(0 <= self.seed < 2**64, f"seed must be in [0, 2**64), not {self.seed}")


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """One generation: its sampling policy and where it stops.

    stop: texts that end the generation; none of them appears in the output.
    stop_token_ids: tokens that end it besides the model's own end-of-generation tokens.
    ignore_eos: go on past end-of-generation tokens (for measurements).
    """

    max_tokens: int = 256
    sampling: SamplingParameters = field(default_factory=SamplingParameters)
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        _require(self.max_tokens > 0, f"max_tokens must be > 0, not {self.max_tokens}")
        _require(all(self.stop), "a stop text is empty")
