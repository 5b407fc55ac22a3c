"""Saved by PEFT, loaded here, merged into the base's GGUF file: the logits are PEFT's.

Proves names, row orders, splits and scales of every architecture by what they compute.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from tests.models.hugging_face_to_gguf import write_gguf
from tests.models.small_models import SMALL_MODELS, oracle_logits

from realm.errors import AdapterFormatError, AdapterMismatchError
from realm.gguf import open_gguf
from realm.lora import Adapter, AdapterBase, Projection, Target, load_adapter
from realm.model import ModelStorage
from realm.model.adapter_base import adapter_base
from realm.model.architectures import read_hyperparameters

# peft 0.21 still asks for an attribute that transformers is about to rename.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

IDS: list[int] = np.random.default_rng(6).integers(0, 320, 40).tolist()
LARGEST_DIFFERENCE = 3e-3  # of the logits' standard deviation: the cache is half precision
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
NAMES = {
    Projection.QUERY: "attn_q",
    Projection.KEY: "attn_k",
    Projection.VALUE: "attn_v",
    Projection.OUTPUT: "attn_output",
    Projection.GATE: "ffn_gate",
    Projection.UP: "ffn_up",
    Projection.DOWN: "ffn_down",
}


def base_of(path: Path) -> AdapterBase:
    with open_gguf(path) as file:
        return adapter_base(read_hyperparameters(file), file)


def adapted(name: str, **options: object) -> peft.PeftModel:
    """The small model with random factors of ranks that differ, none of them zero."""
    model = SMALL_MODELS[name].build()
    is_fused, is_tied = name.startswith("phi3"), model.config.tie_word_embeddings
    modules = (FUSED if is_fused else LINEAR) + ([] if is_tied else ["embed_tokens", "lm_head"])
    config = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules=modules,
        rank_pattern={"o_proj": 3, r"layers\.1\..*down_proj": 8},
        alpha_pattern={"layers.2.self_attn.o_proj": 9},
        task_type="CAUSAL_LM",
        **options,  # type: ignore[arg-type]
    )
    wrapped = peft.get_peft_model(model, config)
    generator = torch.Generator().manual_seed(11)
    for key, parameter in wrapped.named_parameters():
        if "lora_" in key:
            with torch.no_grad():
                parameter.normal_(0.0, 0.3, generator=generator)
    return wrapped.eval()


def merged_logits(path: Path, adapter: Adapter) -> np.ndarray:
    """Logits of the file after W += scale (B A), written over its float32 matrices."""
    with open_gguf(path) as file:
        shapes = {name: info.shape for name, info in file.tensors.items()}
        places = {name: info.offset for name, info in file.tensors.items()}
    stored = np.memmap(path, np.uint8, mode="r+")
    for target, factor in adapter.factors.items():
        name, rows = tensor_of(target, shapes)
        weights = stored[places[name] :][: 4 * int(np.prod(shapes[name]))].view("<f4")
        delta = factor.scale * (factor.b @ factor.a)
        if target.projection == Projection.EMBEDDING:
            delta = delta.T
        weights.reshape(shapes[name])[rows] += delta
    stored.flush()
    return ModelStorage(threads=2).load(path).logits(IDS)


def tensor_of(target: Target, shapes: dict[str, tuple[int, ...]]) -> tuple[str, slice]:
    """Where the file has a product; of the fused tensors of phi3, which rows."""
    if target.layer is None:
        is_head = target.projection == Projection.HEAD
        return ("output.weight" if is_head else "token_embd.weight"), slice(None)
    layer = f"blk.{target.layer}."
    if layer + "attn_qkv.weight" not in shapes or target.projection in (
        Projection.OUTPUT,
        Projection.DOWN,
    ):
        return f"{layer}{NAMES[target.projection]}.weight", slice(None)
    if target.projection in (Projection.GATE, Projection.UP):
        half = shapes[layer + "ffn_up.weight"][0] // 2
        start = half * (target.projection == Projection.UP)
        return layer + "ffn_up.weight", slice(start, start + half)
    bounds = (0, 96, 128, 160)  # 6 query heads and twice 2 of 16 rows
    return layer + "attn_qkv.weight", slice(*bounds[target.projection : target.projection + 2])


def expected_logits(model: peft.PeftModel) -> list[np.ndarray]:
    """Sums in another order may take a key that is as near to two half floats to the other one, so
    there are three answers: the others are as right, with sums that differ by a millionth.
    """
    return [oracle_logits(model, IDS, nudge) for nudge in (0.0, 1e-6, -1e-6)]


def difference(actual: np.ndarray, expected: list[np.ndarray]) -> float:
    """From the nearest one."""
    return min(float(np.abs(actual - each).max() / each.std()) for each in expected)


@pytest.mark.parametrize(
    "name", ["llama", "smollm3", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "granite"]
)
def test_every_architecture(tmp_path: Path, name: str) -> None:
    model = adapted(name)
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    expected = expected_logits(model)
    with model.disable_adapter():
        plain = oracle_logits(model, IDS)
    small = SMALL_MODELS[name]
    path = write_gguf(small.build(), small.architecture, tmp_path / "base.gguf")
    adapter = load_adapter(tmp_path / "adapter", base_of(path))
    assert {factor.rank for factor in adapter.factors.values()} == {3, 4, 8}
    assert difference(merged_logits(path, adapter), expected) < LARGEST_DIFFERENCE
    assert difference(plain, expected) > 100 * LARGEST_DIFFERENCE


def test_rank_stabilised(tmp_path: Path) -> None:
    model = adapted("llama", use_rslora=True)
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    path = write_gguf(SMALL_MODELS["llama"].build(), "llama", tmp_path / "base.gguf")
    adapter = load_adapter(tmp_path / "adapter", base_of(path))
    actual = merged_logits(path, adapter)
    assert difference(actual, expected_logits(model)) < LARGEST_DIFFERENCE


def test_what_peft_saves_of_an_embedding(tmp_path: Path) -> None:
    """By default it saves the embedding itself beside the factors."""
    small = SMALL_MODELS["llama"].build()
    embedding = small.model.embed_tokens.weight.detach().numpy().copy()
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "embed_tokens"], task_type="CAUSAL_LM")
    model = peft.get_peft_model(small, config)
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=True)
    path = write_gguf(SMALL_MODELS["llama"].build(), "llama", tmp_path / "base.gguf")
    base = replace(base_of(path), embedding_rows=lambda ids: embedding[ids])
    adapter = load_adapter(tmp_path / "adapter", base)
    assert Target(None, Projection.EMBEDDING) in adapter.factors
    other = replace(base, embedding_rows=lambda ids: -embedding[ids])
    with pytest.raises(AdapterMismatchError, match="base_layer"):
        load_adapter(tmp_path / "adapter", other)


def test_the_order_of_rows_matters(tmp_path: Path) -> None:
    """What the tests above would show if query and key rows were left as PEFT has them."""
    model = adapted("llama")
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    path = write_gguf(SMALL_MODELS["llama"].build(), "llama", tmp_path / "base.gguf")
    base = base_of(path)
    wrong = load_adapter(tmp_path / "adapter", replace(base, interleaved=False))
    expected = expected_logits(model)
    assert difference(merged_logits(path, wrong), expected) > 10 * LARGEST_DIFFERENCE


def test_a_configuration_with_another_rank(tmp_path: Path) -> None:
    model = adapted("llama")
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    path = write_gguf(SMALL_MODELS["llama"].build(), "llama", tmp_path / "base.gguf")
    config = tmp_path / "adapter" / "adapter_config.json"
    text = config.read_text(encoding="utf-8")
    assert '"lora_alpha": 6' in text
    config.write_text(text.replace('"r": 4', '"r": 5'), encoding="utf-8")
    with pytest.raises(AdapterFormatError, match="rank 4, and 5 in the configuration"):
        load_adapter(tmp_path / "adapter", base_of(path))
