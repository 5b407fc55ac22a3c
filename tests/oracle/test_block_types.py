"""Every block type that runs, in a real model: Realm's perplexity against float32's.

SmolLM2 is written again in each type, and both sides read the same bytes. Blocks of 256 elements
fit only the rows of 1,536 that `ffn_down` has; for rows of 576 such a file uses a type with blocks
of 32, as llama.cpp's quantisation does. What the requantisation itself costs is not asked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from realm.kernels import can_pack
from realm.kernels.block_types import BlockType
from realm.model import ModelStorage

from . import THREADS
from .block_encoders import encode
from .comparison import compare, token_likelihoods
from .expectations import PERPLEXITY_TOLERANCE
from .float32_model import Float32Model
from .requantised import Requantiser, TypeOf, meaning

# Each type after the one that stands in for it where its blocks do not fit: that is encoded once.
SUBSTITUTES = {
    "F32": None, "F16": None, "BF16": None, "Q4_0": None, "Q4_1": None,
    "Q5_0": None, "Q4_K": "Q5_0",
    "Q5_1": None, "Q5_K": "Q5_1",
    "Q8_0": None, "Q6_K": "Q8_0", "Q8_K": "Q8_0",
    "IQ4_NL": None, "IQ4_XS": "IQ4_NL", "Q3_K": "IQ4_NL", "Q2_K": "IQ4_NL",
}  # fmt: skip
# Root mean square error of the encoders here on normal values, relative to these.
ENCODER_ERROR = {
    "F32": 0.0, "F16": 0.00025, "BF16": 0.002, "Q8_0": 0.006, "Q8_K": 0.008, "Q6_K": 0.02,
    "Q5_0": 0.045, "Q5_1": 0.04, "Q5_K": 0.04, "Q4_0": 0.09, "Q4_1": 0.08, "Q4_K": 0.08,
    "IQ4_NL": 0.08, "IQ4_XS": 0.08, "Q3_K": 0.16, "Q2_K": 0.34,
}  # fmt: skip
TOKENS = 512


def test_every_type_that_runs_is_here() -> None:
    running = {each.name for each in BlockType if can_pack(int(each))}
    assert set(SUBSTITUTES) == running == set(ENCODER_ERROR)


@pytest.mark.parametrize("block_type", SUBSTITUTES)
def test_the_encoder_writes_what_the_type_can_hold(block_type: str) -> None:
    values = np.random.default_rng(8).standard_normal((12, 1536)).astype(np.float32)
    values[3] = 0.0
    values[5, :256] *= 1e-4
    back = meaning(encode(values, block_type), block_type)
    error = np.sqrt(np.square(back - values).mean() / np.square(values).mean())
    assert ENCODER_ERROR[block_type] * 0.75 <= error <= ENCODER_ERROR[block_type]


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """What a file is written with, and the oracle that gets its weights."""

    requantiser: Requantiser
    float32: Float32Model
    folder: Path

    def write(self, block_type: str) -> Path:
        """A file in this type; its weights are the oracle's then."""
        path = self.folder / "model.gguf"
        for tensor in self.requantiser.write(path, _types(block_type, SUBSTITUTES[block_type])):
            self.float32.replace(tensor.name, tensor.values)
        return path


@pytest.fixture(scope="module")
def sides(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    model = Float32Model.from_gguf(smollm2_path)
    yield Sides(Requantiser(smollm2_path), model, tmp_path_factory.mktemp("block-types"))
    model.free()


@pytest.mark.parametrize("block_type", SUBSTITUTES)
def test_perplexity(
    block_type: str, sides: Sides, english_text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ModelStorage(THREADS).load(sides.write(block_type))
    ids = list(model.tokenizer.encode(english_text)[: TOKENS + 1])
    following = np.array(ids[1:])
    exact, measured = sides.float32.logits(ids[:-1]), model.logits(ids[:-1])
    # Over texts as the model itself writes them: every next token counts by its probability.
    expected = float(np.expm1(compare(exact, measured).divergence))
    # Over this text; what its few tokens cannot tell apart is the standard error.
    each = token_likelihoods(measured, following) - token_likelihoods(exact, following)
    change, error = float(np.expm1(each.mean())), float(each.std() / np.sqrt(TOKENS))
    with capsys.disabled():
        text = f"perplexity {expected:+.3%}, over the text {change:+.3%} (error {error:.3%})"
        print(f"\n  [{block_type}] {text}", end="")
    assert expected <= PERPLEXITY_TOLERANCE
    assert abs(change) <= PERPLEXITY_TOLERANCE + 2.0 * error


def _types(block_type: str, substitute: str | None) -> TypeOf:
    elements = BlockType[block_type].block_elements

    def type_of(name: str, columns: int) -> str:
        if substitute is None:
            return block_type
        return substitute if columns % elements else block_type

    return type_of
