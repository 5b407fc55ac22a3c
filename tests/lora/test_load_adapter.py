"""Adapters of both formats, every number type, scales and patterns, against what was written."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from attacks.adapters import files as f

from realm.errors import AdapterFormatError, AdapterKindError, AdapterMismatchError
from realm.lora import Adapter, Projection, Target, load_adapter

QUERY, DOWN = "self_attn.q_proj", "mlp.down_proj"


def write(folder: Path, config: dict | None = None, tensors: dict | None = None) -> Path:
    weights = f.safetensors(f.tensors() if tensors is None else tensors)
    return f.write_folder(folder / "adapter", f.config() if config is None else config, weights)


def values(tensor: f.Tensor) -> np.ndarray:
    dtype, shape, data = tensor
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    return np.frombuffer(data, f.DTYPES[dtype]).astype(np.float32).reshape(shape)


def scales(adapter: Adapter) -> set[float]:
    return {factor.scale for factor in adapter.factors.values()}


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_numbers_of_a_peft_folder(tmp_path: Path, dtype: str) -> None:
    written = f.tensors(dtype=dtype)
    adapter = load_adapter(write(tmp_path, tensors=written), f.base(interleaved=False))
    assert list(adapter.factors) == [
        Target(layer, projection)
        for layer in range(f.LAYERS)
        for projection in (Projection.QUERY, Projection.DOWN)
    ]
    for target, factor in adapter.factors.items():
        module = QUERY if target.projection == Projection.QUERY else DOWN
        stem = f"{f.PREFIX}{target.layer}.{module}."
        np.testing.assert_array_equal(factor.a, values(written[stem + "lora_A.weight"]))
        np.testing.assert_array_equal(factor.b, values(written[stem + "lora_B.weight"]))
        assert factor.a.dtype == factor.b.dtype == np.float32
        assert factor.a.flags.c_contiguous and factor.b.flags.c_contiguous
        assert not factor.a.flags.writeable and not factor.b.flags.writeable
        assert factor.scale == 8 / f.RANK


def test_query_rows_are_put_into_the_order_of_the_base(tmp_path: Path) -> None:
    plain = load_adapter(write(tmp_path), f.base(interleaved=False))
    turned = load_adapter(write(tmp_path), f.base(interleaved=True))
    target = Target(0, Projection.QUERY)
    half = f.HEAD_SIZE // 2
    for head in range(f.HEADS):
        for pair in range(half):
            for side in range(2):
                there = turned.factors[target].b[head * f.HEAD_SIZE + 2 * pair + side]
                here = plain.factors[target].b[head * f.HEAD_SIZE + side * half + pair]
                np.testing.assert_array_equal(there, here)
    down = Target(0, Projection.DOWN)
    np.testing.assert_array_equal(turned.factors[down].b, plain.factors[down].b)
    assert turned.digest != plain.digest


def test_the_same_adapter_in_both_formats_has_one_digest(tmp_path: Path) -> None:
    base = f.base()
    from_folder = load_adapter(write(tmp_path), base)
    content = {}
    for target, factor in from_folder.factors.items():
        name = "attn_q" if target.projection == Projection.QUERY else "ffn_down"
        for side, array in (("a", factor.a), ("b", factor.b)):
            key = f"blk.{target.layer}.{name}.weight.lora_{side}"
            content[key] = (array.shape, array.tobytes())
    path = tmp_path / "adapter.gguf"
    path.write_bytes(f.gguf_adapter(dict(reversed(content.items()))))
    from_file = load_adapter(path, base)
    assert from_file.digest == from_folder.digest
    assert list(from_file.factors) == list(from_folder.factors)


def test_the_digest_depends_on_every_number_and_scale(tmp_path: Path) -> None:
    base = f.base()
    name = f"{f.PREFIX}1.{DOWN}.lora_B.weight"
    dtype, shape, data = f.tensors()[name]
    flipped = (dtype, shape, data[:-4] + bytes([data[-4] ^ 1]) + data[-3:])
    digests = [
        load_adapter(path, base).digest
        for path in (
            write(tmp_path / "a"),
            write(tmp_path / "b", tensors=f.tensors(**{name: flipped})),
            write(tmp_path / "c", f.config(lora_alpha=8.5)),
            write(tmp_path / "d", f.config(target_modules=["q_proj"]), f.tensors((QUERY,))),
        )
        if path
    ]
    assert len(set(digests)) == 4
    assert all(len(digest) == 32 for digest in digests)
    again = load_adapter(write(tmp_path / "e", f.config(base_model_name_or_path="x/y")), base)
    assert again.digest == digests[0]


@pytest.fixture(autouse=True)
def folders(tmp_path: Path) -> None:
    for letter in "abcde":
        (tmp_path / letter).mkdir()


def test_scales(tmp_path: Path) -> None:
    base = f.base()
    assert scales(load_adapter(write(tmp_path), base)) == {2.0}
    stabilised = f.config(use_rslora=True)
    assert scales(load_adapter(write(tmp_path, stabilised), base)) == {8 / math.sqrt(f.RANK)}
    zero = f.config(lora_alpha=0)
    assert scales(load_adapter(write(tmp_path, zero), base)) == {0.0}
    path = tmp_path / "a.gguf"
    path.write_bytes(f.gguf_adapter())
    assert scales(load_adapter(path, base)) == {2.0}
    path.write_bytes(f.gguf_adapter(keys=f.gguf_keys(alpha=None)))
    assert scales(load_adapter(path, base)) == {1.0}


def test_patterns_of_rank_and_alpha(tmp_path: Path) -> None:
    mixed = f.tensors((QUERY,)) | f.tensors((DOWN,), rank=7)
    name = f"{f.PREFIX}1.{QUERY}.lora_"
    mixed |= {name + "A.weight": f.matrix(2, f.HIDDEN), name + "B.weight": f.matrix(32, 2)}
    config = f.config(
        rank_pattern={"model.layers.1.self_attn.q_proj": 2, r"(down|up)_proj": 7, "q_proj": 4},
        alpha_pattern={r"layers\.\d+\.mlp\.down_proj": 21, "o_proj": 5},
    )
    adapter = load_adapter(write(tmp_path, config, mixed), f.base())
    found = {t: (x.rank, x.scale) for t, x in adapter.factors.items()}
    assert found == {
        Target(0, Projection.QUERY): (4, 2.0),
        Target(1, Projection.QUERY): (2, 4.0),
        Target(0, Projection.DOWN): (7, 3.0),
        Target(1, Projection.DOWN): (7, 3.0),
    }
    assert adapter.largest_rank == 7


@pytest.mark.parametrize(
    "targets", [r".*\.(q|down)_proj", "all-linear", ["self_attn.q_proj", "mlp.down_proj"]]
)
def test_forms_of_target_modules(tmp_path: Path, targets: object) -> None:
    modules = tuple(f.PRODUCTS) if targets == "all-linear" else (QUERY, DOWN)
    path = write(tmp_path, f.config(target_modules=targets), f.tensors(modules))
    assert len(load_adapter(path, f.base()).factors) == f.LAYERS * len(modules)


def test_chosen_layers(tmp_path: Path) -> None:
    config = f.config(layers_to_transform=[1], layers_pattern="layers")
    only_one = {name: t for name, t in f.tensors().items() if ".layers.1." in name}
    adapter = load_adapter(write(tmp_path, config, only_one), f.base())
    assert {target.layer for target in adapter.factors} == {1}
    with pytest.raises(AdapterFormatError, match="does not name its module"):
        load_adapter(write(tmp_path, config), f.base())


def test_excluded_modules(tmp_path: Path) -> None:
    config = f.config(exclude_modules=r".*\.0\.mlp\.down_proj")
    tensors = {n: t for n, t in f.tensors().items() if ".0.mlp." not in n}
    assert len(load_adapter(write(tmp_path, config, tensors), f.base()).factors) == 3


def test_embedding_and_head(tmp_path: Path) -> None:
    stem = "base_model.model."
    a, b = f.matrix(f.RANK, f.VOCABULARY), f.matrix(f.HIDDEN, f.RANK)
    tensors = {
        stem + "model.embed_tokens.lora_embedding_A": a,
        stem + "model.embed_tokens.lora_embedding_B": b,
        stem + "lm_head.lora_A.weight": f.matrix(f.RANK, f.HIDDEN, seed=3),
        stem + "lm_head.lora_B.weight": f.matrix(f.VOCABULARY, f.RANK, seed=3),
    }
    config = f.config(target_modules=["embed_tokens", "lm_head"])
    adapter = load_adapter(write(tmp_path, config, tensors), f.base())
    embedding, head = (
        adapter.factors[Target(None, each)] for each in (Projection.EMBEDDING, Projection.HEAD)
    )
    np.testing.assert_array_equal(embedding.a, values(a))
    np.testing.assert_array_equal(embedding.b, values(b))
    assert head.b.shape == (f.VOCABULARY, f.RANK)
    content = {
        "token_embd.weight.lora_a": (embedding.a.T.shape, embedding.a.T.tobytes()),
        "token_embd.weight.lora_b": (embedding.b.shape, embedding.b.tobytes()),
        "output.weight.lora_a": (head.a.shape, head.a.tobytes()),
        "output.weight.lora_b": (head.b.shape, head.b.tobytes()),
    }
    path = tmp_path / "adapter.gguf"
    path.write_bytes(f.gguf_adapter(content))
    assert load_adapter(path, f.base()).digest == adapter.digest


def test_a_saved_copy_of_the_embedding_must_be_the_bases(tmp_path: Path) -> None:
    stem = "base_model.model.model.embed_tokens."
    copy = f.matrix(f.VOCABULARY, f.HIDDEN, "BF16")
    tensors = {
        stem + "lora_embedding_A": f.matrix(f.RANK, f.VOCABULARY),
        stem + "lora_embedding_B": f.matrix(f.HIDDEN, f.RANK),
        stem + "base_layer.weight": copy,
    }
    path = write(tmp_path, f.config(target_modules=["embed_tokens"]), tensors)
    own = values(copy) * np.float32(1.05)
    base = f.base(embedding_rows=lambda ids: own[ids])
    assert len(load_adapter(path, base).factors) == 1
    with pytest.raises(AdapterMismatchError, match="differs from the base's embedding"):
        load_adapter(path, f.base(embedding_rows=lambda ids: np.roll(own, 1, axis=0)[ids]))
    with pytest.raises(AdapterKindError, match="save_embedding_layers=False"):
        load_adapter(path, f.base())


def test_fused_products_are_split(tmp_path: Path) -> None:
    base = f.base(interleaved=False)
    query, cached, ffn = f.HEADS * f.HEAD_SIZE, f.KV_HEADS * f.HEAD_SIZE, f.FEED_FORWARD
    names = ("attn_q.", "attn_k.", "attn_v.", "ffn_gate.")
    shapes = {n: s for n, s in base.shapes.items() if not any(part in n for part in names)}
    for layer in range(f.LAYERS):
        shapes[f"blk.{layer}.attn_qkv.weight"] = (query + 2 * cached, f.HIDDEN)
        shapes[f"blk.{layer}.ffn_up.weight"] = (2 * ffn, f.HIDDEN)
    base = dataclasses.replace(base, shapes=shapes, architecture="phi3")
    tensors = {}
    for layer in range(f.LAYERS):
        for module, rows in (("self_attn.qkv", query + 2 * cached), ("mlp.gate_up", 2 * ffn)):
            stem = f"{f.PREFIX}{layer}.{module}_proj.lora_"
            tensors[stem + "A.weight"] = f.matrix(f.RANK, f.HIDDEN, seed=rows)
            tensors[stem + "B.weight"] = f.matrix(rows, f.RANK, seed=rows)
    config = f.config(target_modules=["qkv_proj", "gate_up_proj"])
    adapter = load_adapter(write(tmp_path, config, tensors), base)
    parts = [
        adapter.factors[Target(1, p)] for p in (Projection.QUERY, Projection.KEY, Projection.VALUE)
    ]
    whole = values(tensors[f"{f.PREFIX}1.self_attn.qkv_proj.lora_B.weight"])
    np.testing.assert_array_equal(np.concatenate([part.b for part in parts]), whole)
    assert [len(part.b) for part in parts] == [query, cached, cached]
    assert parts[0].a is parts[1].a is parts[2].a
    halves = [adapter.factors[Target(1, p)].b for p in (Projection.GATE, Projection.UP)]
    whole = values(tensors[f"{f.PREFIX}1.mlp.gate_up_proj.lora_B.weight"])
    np.testing.assert_array_equal(np.concatenate(halves), whole)
    unique = f.LAYERS * (2 * f.RANK * f.HIDDEN + (query + 2 * cached + 2 * ffn) * f.RANK)
    assert adapter.parameter_count == unique


def test_decoder_within_a_larger_model(tmp_path: Path) -> None:
    for inside in ("model.language_model.", "language_model.model."):
        tensors = {
            name.replace("base_model.model.model.", f"base_model.model.{inside}"): tensor
            for name, tensor in f.tensors().items()
        }
        adapter = load_adapter(write(tmp_path, tensors=tensors), f.base())
        assert adapter.digest == load_adapter(write(tmp_path / "a"), f.base()).digest


def test_keys_without_effect_and_empty_unknown_keys(tmp_path: Path) -> None:
    config = f.config(
        eva_config={"rho": 2.0}, revision="main", future_thing=None, other_thing=[], loftq_config={}
    )
    assert load_adapter(write(tmp_path, config), f.base()).factors


def test_paths_in_a_configuration_are_not_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"  # opening it would wait for ever
    pipe.touch(mode=0)
    config = f.config(base_model_name_or_path=str(pipe), revision="../../../etc/passwd")
    assert load_adapter(write(tmp_path, config), f.base()).factors
