"""Adapters added at run time against the same adapters merged into a float32 file: same logits.

Every product alone and all together, weights, several at once, fused tensors, norms after a part,
soft caps, biases, an embedding and a head that are one tensor.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engine.conftest import RUNNING
from tests.models.hugging_face_to_gguf import write_gguf
from tests.models.small_models import SMALL_MODELS
from tests.random_adapters import EVERYTHING, LINEAR, NAMES, random_adapter

import gguf
from realm.gguf import open_gguf
from realm.lora import Adapter, Projection, Target
from realm.model import AdapterPrecision, ModelStorage, StoredModel, WeightedAdapter

Logits = NDArray[np.float32]
Weighted = Sequence[tuple[Adapter, float]]
IDS: list[int] = np.random.default_rng(8).integers(0, 320, 70).tolist()
# Root mean square of the difference from the merged file. In parts of what the adapter changes:
# float32 sums in another order, and roundings of the cache that they turn;
BFLOAT16 = 5e-4
# A and its activations in eight bits.
INT8 = 2e-2
P = Projection


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this file's models stand."""
    return tmp_path_factory.mktemp("adapter-logits")


@cache
def base_of(folder: Path, name: str, isa: str | None = None) -> StoredModel:
    """A small model in float32."""
    small = SMALL_MODELS[name]
    path = folder / f"{name}.gguf"
    if not path.exists():
        write_gguf(small.build(), small.architecture, path)
    return ModelStorage(threads=2, isa=isa).load(path)


@cache
def untied_of(folder: Path, name: str) -> Path:
    """The same model with the head as a tensor of its own: what merging can write to."""
    source = base_of(folder, name).path
    reader = gguf.GGUFReader(source)
    names = {tensor.name for tensor in reader.tensors}
    if "output.weight" in names:
        return source
    target = folder / f"{name}-untied.gguf"
    writer = gguf.GGUFWriter(str(target), SMALL_MODELS[name].architecture)
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            kind, *parts = field.types
            writer.add_key_value(field.name, field.contents(), kind, parts[0] if parts else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data)
        if tensor.name == "token_embd.weight":
            writer.add_tensor("output.weight", tensor.data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def merged(folder: Path, name: str, adapters: Weighted) -> Logits:
    """Logits of the file after W += weight scale (B A), in float64, written over its matrices."""
    source = untied_of(folder, name)
    path = folder / "merged.gguf"
    path.write_bytes(source.read_bytes())
    with open_gguf(path) as file:
        shapes = {key: info.shape for key, info in file.tensors.items()}
        places = {key: info.offset for key, info in file.tensors.items()}
    stored = np.memmap(path, np.uint8, mode="r+")
    base = base_of(folder, name).adapter_base
    for adapter, weight in adapters:
        for target, factor in adapter.factors.items():
            key, rows = place_of(target, shapes, base.query_rows, base.key_rows)
            weights = stored[places[key] :][: 4 * int(np.prod(shapes[key]))].view("<f4")
            delta = weight * factor.scale * (factor.b.astype(np.float64) @ factor.a)
            if target.projection == P.EMBEDDING:
                delta = delta.T
            weights.reshape(shapes[key])[rows] += delta.astype(np.float32)
    stored.flush()
    return ModelStorage(threads=2).load(path).logits(IDS)


def place_of(
    target: Target, shapes: dict[str, tuple[int, ...]], queries: int, keys: int
) -> tuple[str, slice]:
    """The tensor that has a product, and which of its rows."""
    if target.layer is None:
        is_head = target.projection == P.HEAD
        return ("output.weight" if is_head else "token_embd.weight"), slice(None)
    layer = f"blk.{target.layer}."
    is_fused = layer + "attn_qkv.weight" in shapes
    if is_fused and target.projection in (P.QUERY, P.KEY, P.VALUE):
        bounds = (0, queries, queries + keys, queries + 2 * keys)
        at = int(target.projection)
        return layer + "attn_qkv.weight", slice(bounds[at], bounds[at + 1])
    if is_fused and target.projection in (P.GATE, P.UP):
        half = shapes[layer + "ffn_up.weight"][0] // 2
        start = half * (target.projection == P.UP)
        return layer + "ffn_up.weight", slice(start, start + half)
    return f"{layer}{NAMES[target.projection]}.weight", slice(None)


def logits(
    model: StoredModel, adapters: Weighted, precision: AdapterPrecision = "bfloat16"
) -> Logits:
    packed = [WeightedAdapter(model.pack_adapter(a, precision), weight) for a, weight in adapters]
    return model.logits(IDS, packed)


def rms(values: Logits) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).mean()))


def check(
    folder: Path,
    name: str,
    adapters: Weighted,
    bounds: tuple[float, float] = (BFLOAT16, INT8),
    isa: str | None = None,
) -> None:
    """Both precisions against the merged file, in parts of what the adapters change."""
    model = base_of(folder, name, isa)
    expected = merged(folder, name, adapters)
    change = rms(expected - model.logits(IDS))
    assert change > 0.01 * float(expected.std())  # the adapters are felt
    for precision, bound in zip(("bfloat16", "int8"), bounds, strict=True):
        difference = rms(logits(model, adapters, precision) - expected)  # type: ignore[arg-type]
        assert difference <= bound * change, (precision, difference / change)


ARCHITECTURES = ["llama", "llama-tied", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "granite"]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_product_at_once(folder: Path, name: str) -> None:
    ranks = {each: 3 + 5 * int(each) for each in EVERYTHING}
    base = base_of(folder, name).adapter_base
    check(folder, name, [(random_adapter(base, EVERYTHING, rank=ranks, seed=1), 1.0)])


@pytest.mark.parametrize("projection", EVERYTHING)
@pytest.mark.parametrize("name", ["llama-tied", "gemma3", "phi3"])
def test_one_product_alone(folder: Path, name: str, projection: Projection) -> None:
    base = base_of(folder, name).adapter_base
    adapter = random_adapter(base, [projection], rank=8, seed=2, strength=0.5)
    check(folder, name, [(adapter, 1.0)])


@pytest.mark.parametrize("layer", [0, 2, 3])
def test_one_layer_alone(folder: Path, layer: int) -> None:
    base = base_of(folder, "llama").adapter_base
    check(folder, "llama", [(random_adapter(base, rank=5, seed=3, layers=[layer]), 1.0)])


@pytest.mark.parametrize("isa", RUNNING)
def test_every_instruction_set(folder: Path, isa: str) -> None:
    for name in ("llama", "gemma2"):
        base = base_of(folder, name).adapter_base
        check(folder, name, [(random_adapter(base, EVERYTHING, rank=16, seed=4), 1.0)], isa=isa)


@pytest.mark.parametrize("rank", [1, 2, 15, 16, 17, 33, 64, 96])
def test_every_rank(folder: Path, rank: int) -> None:
    base = base_of(folder, "llama").adapter_base
    check(folder, "llama", [(random_adapter(base, EVERYTHING, rank=rank, seed=5), 1.0)])


@pytest.mark.parametrize("weight", [-1.0, 0.3, 2.0])
def test_weights(folder: Path, weight: float) -> None:
    base = base_of(folder, "llama").adapter_base
    adapter = random_adapter(base, EVERYTHING, rank=6, seed=6)
    check(folder, "llama", [(adapter, weight)])


def test_a_weight_of_zero_leaves_the_base(folder: Path) -> None:
    model = base_of(folder, "llama")
    adapter = random_adapter(model.adapter_base, EVERYTHING, seed=7)
    assert np.array_equal(logits(model, [(adapter, 0.0)]), model.logits(IDS))


@pytest.mark.parametrize("name", ["llama-tied", "phi3"])
def test_several_on_one_request(folder: Path, name: str) -> None:
    base = base_of(folder, name).adapter_base
    three = [
        (random_adapter(base, EVERYTHING, rank=7, seed=8), 1.0),
        (random_adapter(base, [P.QUERY, P.UP, P.HEAD], rank=32, seed=9), 0.5),
        (random_adapter(base, LINEAR, rank=1, seed=10), -0.75),
    ]
    check(folder, name, three)
    check(folder, name, three[1:])


def test_one_twice_is_one_of_twice_the_weight(folder: Path) -> None:
    base = base_of(folder, "llama").adapter_base
    adapter = random_adapter(base, EVERYTHING, seed=11)
    model = base_of(folder, "llama")
    once, twice = logits(model, [(adapter, 2.0)]), logits(model, [(adapter, 1.0)] * 2)
    assert rms(once - twice) <= BFLOAT16 * rms(once - model.logits(IDS))


def test_what_is_measured_sees_a_part_that_is_left_out(folder: Path) -> None:
    """Each product of each layer moves the logits by far more than the tolerance."""
    model = base_of(folder, "llama")
    whole = random_adapter(model.adapter_base, EVERYTHING, rank=8, seed=12)
    expected = logits(model, [(whole, 1.0)])
    change = rms(expected - model.logits(IDS))
    for target in whole.factors:
        rest = {key: factor for key, factor in whole.factors.items() if key != target}
        without = Adapter(whole.digest, rest, whole.byte_size)
        assert rms(logits(model, [(without, 1.0)]) - expected) > 10 * BFLOAT16 * change, target
