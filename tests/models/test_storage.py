"""Loading models: sharing by content, and typed errors for files that are no models."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.tiny_model import TinyModel

import gguf
from realm.errors import (
    AdapterNotFoundError,
    ArchitectureError,
    ContextLengthError,
    GGUFMagicError,
    MissingTensorError,
    NotSupportedError,
    RequestError,
    TensorShapeError,
)
from realm.model import ModelStorage


def test_the_same_content_is_stored_once(tmp_path: Path) -> None:
    storage = ModelStorage(threads=1)
    first = storage.load(TinyModel().write(tmp_path / "a.gguf"), "one")
    shutil.copy(tmp_path / "a.gguf", tmp_path / "b.gguf")
    assert storage.load(tmp_path / "b.gguf", "two") is first
    other = storage.load(TinyModel(block_type="Q4_0").write(tmp_path / "c.gguf"))
    assert other is not first
    assert storage.by_hash(other.content_hash) is other


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.gguf"
    path.write_text("not a model")
    with pytest.raises(GGUFMagicError):
        ModelStorage(threads=1).load(path)


def rewritten(path: Path, tensors: dict[str, np.ndarray | None], **metadata: object) -> Path:
    """The tiny llama with some tensors replaced, added or left out, and metadata set."""
    source = TinyModel(block_type="F32", head_block_type="F32").write(path.with_suffix(".source"))
    reader = gguf.GGUFReader(str(source))
    writer = gguf.GGUFWriter(str(path), str(metadata.pop("architecture", "llama")))
    for name, value in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        key = name.removeprefix("llama.")
        content = metadata.pop(key, value.contents())
        sub = value.types[-1] if value.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, content, value.types[0], sub_type=sub)
    for name, content in metadata.items():
        writer.add_key_value(f"llama.{name}", content, gguf.GGUFValueType.get_type(content))
    for name, data in (
        {each.name: np.array(each.data) for each in reader.tensors} | tensors
    ).items():
        if data is not None:
            writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_wrong_tensors_are_named(tmp_path: Path) -> None:
    storage = ModelStorage(threads=1)
    path = rewritten(tmp_path / "a.gguf", {"blk.1.ffn_up.weight": None})
    with pytest.raises(MissingTensorError, match=r"blk\.1\.ffn_up\.weight"):
        storage.load(path)
    path = rewritten(tmp_path / "b.gguf", {"blk.0.attn_q.weight": np.zeros((96, 96), np.float32)})
    with pytest.raises(TensorShapeError, match=r"blk\.0\.attn_q\.weight"):
        storage.load(path)
    path = rewritten(tmp_path / "c.gguf", {"output_norm.weight": np.zeros(96, np.float16)})
    with pytest.raises(NotSupportedError, match=r"output_norm\.weight"):
        storage.load(path)
    path = rewritten(tmp_path / "e.gguf", {"blk.1.attn_output.bias": np.zeros(96, np.float32)})
    with pytest.raises(NotSupportedError, match=r"blk\.1\.attn_output\.bias.*no place"):
        storage.load(path)
    path = rewritten(tmp_path / "d.gguf", {"blk.2.ffn_up.weight": np.zeros((160, 96), np.float64)})
    with pytest.raises(NotSupportedError, match=r"blk\.2\.ffn_up\.weight.*F64"):
        storage.load(path)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("block_count", 0, "block_count is 0"),
        ("attention.head_count_kv", 4, "do not divide"),
        ("attention.key_length", 24, "head size 24"),
        ("embedding_length", 100, "not a multiple of 32"),
        ("attention.layer_norm_rms_epsilon", float("nan"), "epsilon is nan"),
        ("attention.value_length", 64, "values of 64 with keys of 32"),
        ("attention.causal", False, "later tokens"),
        ("attention.sliding_window", -1, "sliding_window is -1"),
        ("block_count", 1000, "1000 layers"),
        ("expert_count", 8, "mixtures of experts"),
        ("feed_forward_length", 150, "feed-forward size 150"),
        ("rope.dimension_count", 64, "64 rotated dimensions do not fit"),
        ("rope.freq_base", 1.0, "rope base of 1.0"),
        ("rope.scaling.type", "longrope", "needs a tensor rope_factors_long"),
        ("rope.scaling.type", "ntk", "rope scaling 'ntk' is not supported"),
    ],
)
def test_wrong_hyperparameters_are_named(
    tmp_path: Path, key: str, value: object, reason: str
) -> None:
    path = rewritten(tmp_path / "model.gguf", {}, **{key: value})
    with pytest.raises(ArchitectureError, match=reason):
        ModelStorage(threads=1).load(path)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"rope_freqs.weight": np.ones(8, np.float32)}, r"rope_freqs.weight is F32 \(8,\)"),
        ({"rope_freqs.weight": np.zeros(16, np.float32)}, "rope_freqs.weight holds a value"),
        ({"rope_factors_long.weight": np.ones(16, np.float32)}, "no tensor rope_factors_short"),
    ],
)
def test_wrong_rope_tensors_are_named(
    tmp_path: Path, tensors: dict[str, np.ndarray | None], reason: str
) -> None:
    path = rewritten(tmp_path / "model.gguf", tensors)
    with pytest.raises(ArchitectureError, match=reason):
        ModelStorage(threads=1).load(path)


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    path = rewritten(tmp_path / "model.gguf", {}, architecture="mamba")
    with pytest.raises(ArchitectureError, match="'mamba' is not supported"):
        ModelStorage(threads=1).load(path)


def test_evaluation_checks_its_tokens(tmp_path: Path) -> None:
    model = ModelStorage(threads=1).load(TinyModel().write(tmp_path / "model.gguf"))
    with pytest.raises(RequestError, match="no tokens"):
        model.logits([])
    with pytest.raises(RequestError, match="token id -1 at index 2"):
        model.logits([1, 2, -1])
    with pytest.raises(ContextLengthError):
        model.logits([1] * 1025)
    with pytest.raises(AdapterNotFoundError, match="pirate"):
        model.logits([1], adapter="pirate")
