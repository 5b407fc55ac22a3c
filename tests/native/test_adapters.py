"""What the native core must refuse of an adapter and of the runs of a step: NativeError, always."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.tiny_model import HIDDEN, LAYERS, VOCABULARY, TinyModel

from realm.errors import NativeError
from realm.kernels import CachePool, NativeAdapter, Team
from realm.model import ModelStorage, PackedAdapter, StoredModel, WeightedAdapter

ROWS = 6
QUERY, DOWN, EMBEDDING, HEAD, BEYOND = 0, 6, 7, 8, 9
Factor = tuple[int, int, NDArray[np.float32], NDArray[np.float32], float]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> StoredModel:
    folder: Path = tmp_path_factory.mktemp("native-adapters")
    return ModelStorage(threads=2).load(TinyModel().write(folder / "tiny.gguf"))


def factor(
    layer: int = 0,
    *,
    projection: int = QUERY,
    rank: int = 4,
    scale: float = 1.0,
    outputs: int = 192,
    inputs: int = HIDDEN,
    b_rank: int | None = None,
) -> Factor:
    a = np.ones((rank, inputs), np.float32)
    b = np.ones((outputs, rank if b_rank is None else b_rank), np.float32)
    return layer, projection, a, b, scale


def with_number(side: str, value: float, projection: int = QUERY) -> Factor:
    sizes = {QUERY: (192, HIDDEN), EMBEDDING: (HIDDEN, VOCABULARY), HEAD: (VOCABULARY, HIDDEN)}
    outputs, inputs = sizes[projection]
    found = factor(projection=projection, outputs=outputs, inputs=inputs)
    found[2 if side == "a" else 3][3, 2] = value
    return found


FACTORS: dict[str, list[Factor]] = {
    "no such layer": [factor(layer=LAYERS)],
    "a layer below zero": [factor(layer=-1)],
    "no such product": [factor(projection=BEYOND)],
    "a product below zero": [factor(projection=-1)],
    "rank 0": [factor(rank=0)],
    "a rank beyond the limit": [factor(rank=4097)],
    "ranks that differ": [factor(b_rank=5)],
    "too many outputs": [factor(outputs=193)],
    "too few outputs": [factor(outputs=176)],
    "inputs of another product": [factor(projection=DOWN, outputs=HIDDEN)],
    "A and B exchanged": [factor(outputs=HIDDEN, inputs=192)],
    "an embedding the wrong way": [factor(projection=EMBEDDING, outputs=VOCABULARY)],
    "a head of another vocabulary": [factor(projection=HEAD, outputs=VOCABULARY - 1)],
    "the same product twice": [factor(), factor()],
    "two embeddings": [factor(projection=EMBEDDING, outputs=HIDDEN, inputs=VOCABULARY)] * 2,
    "a scale that is no number": [factor(scale=float("nan"))],
    "an endless scale": [factor(scale=float("inf"))],
    "a scale that makes B endless": [(*with_number("b", 1e30)[:4], 1e30)],
    "NaN in A": [with_number("a", float("nan"))],
    "infinity in A": [with_number("a", float("-inf"))],
    "NaN in B": [with_number("b", float("nan"))],
    "NaN in the second factor": [factor(1), with_number("b", float("nan"))],
    "NaN in an embedding's A": [with_number("a", float("nan"), EMBEDDING)],
    "NaN in an embedding's B": [with_number("b", float("nan"), EMBEDDING)],
    "infinity in a head's A": [with_number("a", float("inf"), HEAD)],
}


@pytest.mark.parametrize("precision", ["int8", "bfloat16"])
@pytest.mark.parametrize("name", FACTORS)
def test_factors(model: StoredModel, name: str, precision: str) -> None:
    with pytest.raises(NativeError):
        NativeAdapter(model.native, precision=precision, factors=FACTORS[name])


def test_products_beyond_the_range(model: StoredModel) -> None:
    """int8 keeps one scale for A and B together; it must be a number."""
    with pytest.raises(NativeError):
        found = [with_number("a", 3e38)]
        NativeAdapter(model.native, precision="int8", factors=found)
    NativeAdapter(model.native, precision="int8", factors=[with_number("a", 1e30)])


@pytest.mark.parametrize("projection", [0, EMBEDDING, HEAD])
@pytest.mark.parametrize("part", ["a", "b"])
def test_numbers_that_bfloat16_rounds_to_infinity(
    model: StoredModel, part: str, projection: int
) -> None:
    with pytest.raises(NativeError):
        found = [with_number(part, 3.4e38, projection)]
        NativeAdapter(model.native, precision="bfloat16", factors=found)


def test_factors_below_the_smallest_normal_number(model: StoredModel) -> None:
    """One over them is infinite; what they add is nothing."""
    found = factor()
    found[2][:] = 1e-41
    native = NativeAdapter(model.native, precision="int8", factors=[found])
    packed = PackedAdapter(native, bytes(32), model.content_hash, "int8")
    ids = [1, 2, 3]
    assert np.array_equal(model.logits(ids, [WeightedAdapter(packed)]), model.logits(ids))


def test_a_precision_that_is_none(model: StoredModel) -> None:
    with pytest.raises(NativeError):
        NativeAdapter(model.native, precision="int4", factors=[factor()])


# ---- The runs of a step ----


class Stepper:
    """Steps of six rows in one segment."""

    def __init__(self, model: StoredModel) -> None:
        self._model = model
        self._pool, self._team = CachePool(model.native, 1), Team(2)

    def __call__(
        self, adapters: list[NativeAdapter], runs: object, weights: object
    ) -> NDArray[np.float32]:
        native = self._model.native
        native.step(
            self._pool,
            self._team,
            tokens=np.arange(ROWS, dtype=np.int32),
            page_table=np.zeros((1, 1), np.int32),
            segments=np.array([[0, 0, ROWS]], np.int32),
            layer_begin=0,
            layer_end=LAYERS,
            logit_rows=np.arange(ROWS, dtype=np.int32),
            adapters=adapters,
            adapter_runs=None if runs is None else np.array(runs, np.int32),
            adapter_weights=None if weights is None else np.array(weights, np.float32),
        )
        return np.array(native.logits(0, ROWS))


@pytest.fixture(scope="module")
def step(model: StoredModel) -> Stepper:
    return Stepper(model)


@pytest.fixture(scope="module")
def adapter(model: StoredModel) -> NativeAdapter:
    return NativeAdapter(model.native, precision="int8", factors=[factor(scale=0.01)])


ALL = [0, 0, ROWS, 0]
RUNS: dict[str, tuple[object, object]] = {
    "no such adapter": ([[1, 0, ROWS, 0]], [1.0]),
    "an adapter below zero": ([[-1, 0, ROWS, 0]], [1.0]),
    "rows before the first": ([[0, -1, 2, 0]], [1.0]),
    "rows past the last": ([[0, 0, ROWS + 1, 0]], [1.0]),
    "a first row past the last": ([[0, ROWS, 1, 0]], [1.0]),
    "rows whose end overflows": ([[0, 1, 2**31 - 1, 0]], [1.0]),
    "no rows": ([[0, 0, 0, 0]], [1.0]),
    "rows below zero": ([[0, 3, -2, 0]], [1.0]),
    "a slot below zero": ([[0, 0, ROWS, -1]], [1.0]),
    "a slot beyond the limit": ([[0, 0, ROWS, 16]], [1.0]),
    "one slot twice": ([ALL, ALL], [1.0, 1.0]),
    "one slot twice on one row": ([[0, 0, 4, 1], [0, 3, 3, 1]], [1.0, 1.0]),
    "three numbers in a run": ([[0, 0, ROWS]], [1.0]),
    "five numbers in a run": ([[0, 0, ROWS, 0, 0]], [1.0]),
    "no weights": ([ALL], None),
    "too few weights": ([[0, 0, 3, 0], [0, 3, 3, 0]], [1.0]),
    "too many weights": ([ALL], [1.0, 1.0]),
    "a weight that is no number": ([ALL], [float("nan")]),
    "an endless weight": ([ALL], [float("inf")]),
    "a wrong run after a right one": ([ALL, [0, 0, ROWS, 16]], [1.0, 1.0]),
}


@pytest.mark.parametrize("name", RUNS)
def test_runs(step: Stepper, adapter: NativeAdapter, name: str) -> None:
    runs, weights = RUNS[name]
    before = step([adapter], [ALL], [1.0])
    with pytest.raises(NativeError):
        step([adapter], runs, weights)
    assert step([adapter], [ALL], [1.0]).tobytes() == before.tobytes()  # all is as it was


def test_runs_without_an_adapter(step: Stepper) -> None:
    with pytest.raises(NativeError):
        step([], [ALL], [1.0])


CHANGES: list[dict[str, int]] = [
    {"hidden": 128},
    {"feed_forward": 192},
    {"heads": 4},
    {"head_size": 16},
]


@pytest.mark.parametrize("fields", CHANGES, ids=str)
def test_an_adapter_of_another_model(step: Stepper, tmp_path: Path, fields: dict[str, int]) -> None:
    path = TinyModel(**fields).write(tmp_path / "other.gguf")  # type: ignore[arg-type]
    other = ModelStorage(threads=1).load(path)
    base = other.adapter_base
    found = factor(outputs=base.query_rows, inputs=base.hidden_size)
    foreign = NativeAdapter(other.native, precision="int8", factors=[found])
    with pytest.raises(NativeError):
        step([foreign], [ALL], [1.0])


def test_no_runs_are_no_adapters(step: Stepper, adapter: NativeAdapter) -> None:
    plain = step([], None, None)
    assert step([adapter], np.empty((0, 4)), []).tobytes() == plain.tobytes()
    assert step([adapter], [[0, 2, 1, 15]], [1.0]).tobytes() != plain.tobytes()


@pytest.mark.parametrize("precision", ["int8", "bfloat16"])
@pytest.mark.parametrize("side", ["a", "b"])
def test_numbers_that_overflow_stay_in_their_rows(
    model: StoredModel, step: Stepper, precision: str, side: str
) -> None:
    large = {"int8": {"a": 8e6, "b": 65504.0}, "bfloat16": {"a": 1e38, "b": 1e38}}
    found = with_number(side, large[precision][side])
    adapter = NativeAdapter(model.native, precision=precision, factors=[(*found[:4], 1.0)])
    logits, plain = step([adapter], [[0, 5, 1, 0]], [3e38]), step([], None, None)
    assert logits[:5].tobytes() == plain[:5].tobytes()
    assert logits[5].tobytes() != plain[5].tobytes()


@pytest.mark.parametrize("power", [-90, -20, 20, 90])
def test_what_b_gives_back_a_may_take(model: StoredModel, step: Stepper, power: int) -> None:
    """A times a power of two and B divided by it are the same adapter, whatever their scales."""
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, HIDDEN), (192, 4)))
    logits = []
    for exponent in (0, power):
        scaled = (0, QUERY, np.ldexp(a, exponent), np.ldexp(b, -exponent), 0.1)
        adapter = NativeAdapter(model.native, precision="int8", factors=[scaled])
        logits.append(step([adapter], [ALL], [1.0]).tobytes())
    assert logits[0] == logits[1]


def test_what_it_holds(model: StoredModel) -> None:
    """Two bytes a number, or one and scales: of 32 inputs, and of an output."""
    rank = 16
    numbers = rank * HIDDEN + 192 * rank
    sizes = {
        precision: NativeAdapter(
            model.native, precision=precision, factors=[factor(rank=rank)]
        ).bytes
        for precision in ("int8", "bfloat16")
    }
    assert sizes["bfloat16"] == 2 * numbers
    assert numbers < sizes["int8"] < 1.2 * numbers


def test_the_arrays_are_not_kept(model: StoredModel, step: Stepper) -> None:
    found = factor(scale=0.01)
    adapter = NativeAdapter(model.native, precision="int8", factors=[found])
    before = step([adapter], [ALL], [1.0])
    found[2][:] = found[3][:] = np.nan
    assert step([adapter], [ALL], [1.0]).tobytes() == before.tobytes()
