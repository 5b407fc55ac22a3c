"""How tokens are chosen, and when a generation ends."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from realm.config.speculation import MOST_DRAFTED
from realm.errors import ConfigError

MOST_LOGPROBS = 20
CONSTRAINTS = ("json_schema", "regex", "grammar")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True, slots=True)
class SamplingParameters:
    """The policy of one draw.

    Applied in this order: logit_bias, the mask of a constraint, penalties, temperature, top_k,
    top_p, min_p, typical_p, the draw. Each filter looks at what the ones before it left. The
    noise of a draw depends on seed, position and token alone (Gumbel, 1954).

    temperature: 0 takes the most likely token (the lowest id on ties).
    top_k: keep the k most likely tokens; 0 keeps all.
    top_p: keep the fewest most likely tokens whose probabilities sum to at least top_p.
    min_p: keep the tokens at least min_p times as likely as the most likely one.
    typical_p: keep the tokens whose information is nearest to the entropy, the fewest whose
        probabilities sum to at least typical_p (Meister et al., 2022); the lower id on ties.
    repetition_penalty: divides positive and multiplies negative logits of tokens that were seen.
    presence_penalty, frequency_penalty: subtracted once, and once an occurrence, from the logits
        of generated tokens (OpenAI's definition).
    seed: together with a token's position it fixes the noise of the draw.
    logit_bias: (token id, what is added to its logit), each token once.
    logprobs: report the chosen token's log probability and those of this many most likely
        tokens (0..20); None reports none. They are the model's own: of the logits as the model
        gave them, before bias, mask, penalties and temperature.
    """

    temperature: float = 0.7
    top_k: int = 0
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int = 0
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: int | None = None

    def __post_init__(self) -> None:
        _require(
            math.isfinite(self.temperature) and self.temperature >= 0.0,
            f"temperature must be a number >= 0, not {self.temperature}",
        )
        _require(0 <= self.top_k < 2**31, f"top_k must be >= 0, not {self.top_k}")
        _require(0.0 < self.top_p <= 1.0, f"top_p must be in (0, 1], not {self.top_p}")
        _require(0.0 <= self.min_p <= 1.0, f"min_p must be in [0, 1], not {self.min_p}")
        _require(0.0 < self.typical_p <= 1.0, f"typical_p must be in (0, 1], not {self.typical_p}")
        _require(
            math.isfinite(self.repetition_penalty) and self.repetition_penalty > 0.0,
            f"repetition_penalty must be a number > 0, not {self.repetition_penalty}",
        )
        for name in ("presence_penalty", "frequency_penalty"):
            _require(math.isfinite(getattr(self, name)), f"{name} must be a finite number")
        _require(0 <= self.seed < 2**64, f"seed must be in [0, 2**64), not {self.seed}")
        self._check_logit_bias()
        _require(
            self.logprobs is None or 0 <= self.logprobs <= MOST_LOGPROBS,
            f"logprobs must be in 0..{MOST_LOGPROBS}, not {self.logprobs}",
        )

    def _check_logit_bias(self) -> None:
        seen: set[int] = set()
        for token_id, bias in self.logit_bias:
            _require(token_id >= 0, f"logit_bias names token {token_id}")
            _require(math.isfinite(bias), f"logit_bias of token {token_id} must be finite")
            _require(token_id not in seen, f"logit_bias names token {token_id} twice")
            seen.add(token_id)


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """One generation: its sampling policy and where it stops.

    stop: texts that end the generation; none of them appears in the output.
    stop_token_ids: tokens that end it besides the model's own end-of-generation tokens.
    ignore_eos: go on past end-of-generation tokens (for measurements).
    json_schema: JSON text of a schema that the output satisfies. regex: an expression that the
        whole output matches. grammar: a grammar of the output in llguidance's dialect of Lark. At
        most one of the three; the output ends where it is complete, or at max_tokens before that.
    draft_k: most drafted tokens of a step, for speculative decoding; 0 drafts none, None leaves it
        to the engine. The text is the same.
    """

    max_tokens: int = 256
    sampling: SamplingParameters = field(default_factory=SamplingParameters)
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    json_schema: str | None = None
    regex: str | None = None
    grammar: str | None = None
    draft_k: int | None = None

    def __post_init__(self) -> None:
        _require(self.max_tokens > 0, f"max_tokens must be > 0, not {self.max_tokens}")
        _require(all(self.stop), "a stop text is empty")
        _require(
            self.draft_k is None or 0 <= self.draft_k <= MOST_DRAFTED,
            f"draft_k must be in 0..{MOST_DRAFTED}, not {self.draft_k}",
        )
        for name in CONSTRAINTS:
            text = getattr(self, name)
            _require(text is None or isinstance(text, str), f"{name} must be text")
        given = [name for name in CONSTRAINTS if getattr(self, name) is not None]
        _require(len(given) <= 1, f"{' and '.join(given)} exclude each other")
