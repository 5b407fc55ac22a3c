"""Every architecture against transformers: same weights, a text longer than any window."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engine.conftest import RUNNING
from tests.models.hugging_face_to_gguf import round_activations, round_weights, write_gguf
from tests.models.small_models import SMALL_MODELS, oracle_logits

from realm.gguf import GGUFFile
from realm.model import ModelStorage, storage
from realm.model.architectures import read_hyperparameters
from realm.model.hyperparameters import Hyperparameters, LayerKind, Rope

Logits = NDArray[np.float32]
IDS: list[int] = np.random.default_rng(5).integers(0, 320, 100).tolist()


@dataclass(frozen=True)
class Tolerance:
    """Differences from the oracle's logits, in standard deviations of these."""

    largest: float
    root_mean_square: float

    def check(self, actual: Logits, expected: Logits) -> None:
        """Fails unless both bounds hold."""
        largest, root_mean_square = differences(actual, expected)
        assert largest <= self.largest
        assert root_mean_square <= self.root_mean_square


# Float32 weights differ by the order of sums; now and then that turns a rounding of the cache.
FLOAT = Tolerance(largest=3e-3, root_mean_square=3e-4)
# With activations of eight bits such a rounding moves what follows by a step of its own.
EIGHT_BITS = Tolerance(largest=0.15, root_mean_square=0.025)


def differences(actual: Logits, expected: Logits) -> tuple[float, float]:
    """The largest and the root mean square one, in standard deviations of what is expected."""
    errors = (actual - expected) / expected.std()
    return float(np.abs(errors).max()), float(np.sqrt(np.square(errors).mean()))


@cache
def written(folder: Path, name: str, block_type: str) -> tuple[Path, Logits]:
    """The small model's file, and the oracle's logits for IDS."""
    small = SMALL_MODELS[name]
    oracle = small.build()
    if block_type != "F32":
        round_weights(oracle, block_type)
        round_activations(oracle)
    path = write_gguf(oracle, small.architecture, folder / f"{name}-{block_type}.gguf", block_type)
    return path, oracle_logits(oracle, IDS)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this file's models stand."""
    return tmp_path_factory.mktemp("architectures")


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_float_weights(folder: Path, name: str) -> None:
    path, expected = written(folder, name, "F32")
    FLOAT.check(ModelStorage(threads=2).load(path).logits(IDS), expected)


@pytest.mark.parametrize("isa", RUNNING)
def test_every_instruction_set(folder: Path, isa: str) -> None:
    for name in ("gemma2", "granite"):  # soft caps; scaled residuals
        path, expected = written(folder, name, "F32")
        FLOAT.check(ModelStorage(threads=2, isa=isa).load(path).logits(IDS), expected)


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_quantised_weights(folder: Path, name: str) -> None:
    path, expected = written(folder, name, "Q8_0")
    EIGHT_BITS.check(ModelStorage(threads=2).load(path).logits(IDS), expected)


def test_granite_without_rotation(tmp_path: Path) -> None:
    oracle = SMALL_MODELS["granite"].build()
    oracle.model.rotary_emb.inv_freq.zero_()
    path = write_gguf(
        oracle, "granite", tmp_path / "model.gguf", flags={"rope.scaling.finetuned": False}
    )
    actual = ModelStorage(threads=1).load(path).logits(IDS)
    FLOAT.check(actual, oracle_logits(oracle, IDS))


Change = Callable[[Hyperparameters], Hyperparameters]


def _everything_visible(h: Hyperparameters) -> Hyperparameters:
    return replace(h, layers=tuple(replace(kind, window=0) for kind in h.layers))


def _windows_moved(h: Hyperparameters) -> Hyperparameters:
    return replace(h, layers=h.layers[1:] + h.layers[:1])


def _window_one_longer(h: Hyperparameters) -> Hyperparameters:
    longer = (replace(kind, window=kind.window and kind.window + 1) for kind in h.layers)
    return replace(h, layers=tuple(longer))


def _one_rope(h: Hyperparameters) -> Hyperparameters:
    return replace(h, layers=(LayerKind(),) * h.layer_count)


def _plain_rope(h: Hyperparameters) -> Hyperparameters:
    rope = h.ropes[0]
    pairs = len(rope.inverse_frequencies)
    plain = Rope(10000.0 ** -(np.arange(pairs) / pairs), rope.magnitude, rope.interleaved)
    return replace(h, ropes=(plain,))


def _flat_rope(h: Hyperparameters) -> Hyperparameters:
    return replace(h, ropes=(replace(h.ropes[0], magnitude=1.0),))


def _pairs_of_the_other_kind(h: Hyperparameters) -> Hyperparameters:
    return replace(
        h, ropes=tuple(replace(rope, interleaved=not rope.interleaved) for rope in h.ropes)
    )


def _set(**fields: float) -> Change:
    return lambda h: replace(h, **fields)  # type: ignore[arg-type]


FEATURES: list[tuple[str, Change]] = [
    *((name, _pairs_of_the_other_kind) for name in SMALL_MODELS),
    *((name, _plain_rope) for name in ("llama-linear", "llama-3.1", "llama-yarn", "qwen2-yarn")),
    *((name, _plain_rope) for name in ("phi3-long", "phi3-short")),
    *((name, _flat_rope) for name in ("llama-yarn", "qwen2-yarn", "phi3-long")),
    *((name, _everything_visible) for name in ("mistral", "gemma2", "gemma3", "phi3")),
    *((name, _window_one_longer) for name in ("mistral", "gemma2", "gemma3", "phi3")),
    ("gemma2", _windows_moved),
    ("gemma3", _windows_moved),
    ("smollm3", _windows_moved),
    ("smollm3", _one_rope),
    ("gemma2", _set(attention_softcap=0.0)),
    ("gemma2", _set(logit_softcap=0.0)),
    ("gemma2", _set(embedding_scale=1.0)),
    ("gemma2", _set(attention_scale=1.0)),
    ("granite", _set(attention_scale=1.0)),
    ("granite", _set(embedding_scale=1.0)),
    ("granite", _set(residual_scale=1.0)),
    ("granite", _set(logit_scale=1.0)),
]


@pytest.mark.parametrize(("name", "change"), FEATURES)
def test_leaving_a_feature_out_shows(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, change: Change
) -> None:
    def read(file: GGUFFile) -> Hyperparameters:
        return change(read_hyperparameters(file))

    path, expected = written(folder, name, "F32")
    monkeypatch.setattr(storage, "read_hyperparameters", read)
    _, root_mean_square = differences(ModelStorage(threads=2).load(path).logits(IDS), expected)
    assert root_mean_square > 10.0 * FLOAT.root_mean_square
