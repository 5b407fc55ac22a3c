"""Adapters against PEFT in float32 on the dequantised SmolLM2: one mixed batch, row by row.

PEFT has the factors and saves them, Realm reads the folders. What counts is the error's size: of
rows with adapters beside the same text's rows without, and beside what rounding the base's
activations to int8, and nothing of the adapters, does to PEFT's own rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import peft
import pytest
import torch

from realm.kernels import PAGE_TOKENS, CachePool, Team
from realm.lora import load_adapter
from realm.model import AdapterPrecision, ModelStorage, StoredModel, WeightedAdapter, adapter_rows

from . import THREADS
from .comparison import Difference, compare
from .float32_model import Float32Model, _round_to_int8

pytestmark = [
    # peft 0.21 still asks for an attribute that transformers is about to rename.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
    # The embedding is adapted and the head, its twin, is not: as meant.
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning"),
]

Logits = npt.NDArray[np.float32]
TOKENS = 48
BASE = "__base__"
# Root mean square errors, of single adapters and in the mean: beside rows of the base on the same
# text, whose own error differs from theirs as the adapted models differ; and beside the base's
# rounding in the same adapted model.
BESIDE_BASE, MEAN_BESIDE_BASE = 1.5, 1.2
BESIDE_ROUNDING, MEAN_BESIDE_ROUNDING = 1.2, 1.08
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
FEED_FORWARD = ["gate_proj", "up_proj", "down_proj"]
LINEAR = ATTENTION + FEED_FORWARD


@dataclass(frozen=True)
class Recipe:
    """Products, rank, and how large the factors' product is beside a weight's typical row."""

    modules: list[str]
    rank: int
    strength: float


RECIPES = {
    "all-16": Recipe(LINEAR, 16, 0.4),
    "all-64": Recipe(LINEAR, 64, 0.4),
    "all-8": Recipe(LINEAR, 8, 0.3),
    "query-value-4": Recipe(["q_proj", "v_proj"], 4, 0.8),
    "attention-32": Recipe(ATTENTION, 32, 0.6),
    "feed-forward-12": Recipe(FEED_FORWARD, 12, 0.6),
    "down-16": Recipe(["down_proj"], 16, 1.0),
    "embedding-24": Recipe(["embed_tokens", "o_proj", "up_proj"], 24, 0.03),
}


@dataclass(frozen=True, eq=False)
class PeftRun:
    """What PEFT's mixed batch says. order: of its rows; folder: the adapters that it saved.

    exact: logits [tokens, vocabulary] by adapter; rounded: the same with the inputs of the base's
    products rounded to int8, as Realm's base path does, and exact adapters.
    """

    text: list[int]
    order: list[str]
    folder: Path
    exact: dict[str, Logits]
    rounded: dict[str, Logits]


@pytest.fixture(scope="module")
def stored(smollm2_path: Path) -> StoredModel:
    return ModelStorage(THREADS).load(smollm2_path)


@pytest.fixture(scope="module")
def peft_run(
    smollm2_path: Path,
    stored: StoredModel,
    english_text: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[PeftRun]:
    text = list(stored.tokenizer.encode(english_text))[:TOKENS]
    names = list(RECIPES)
    order = [names[0], BASE, *names[1:4], BASE, *names[4:]]
    oracle = Float32Model.from_gguf(smollm2_path)
    wrapped = with_adapters(oracle)
    folder = tmp_path_factory.mktemp("peft")
    wrapped.save_pretrained(folder, selected_adapters=names, save_embedding_layers=False)
    exact = mixed_batch(wrapped, text, order)
    with int8_base_activations(wrapped):
        rounded = mixed_batch(wrapped, text, order)
    yield PeftRun(text, order, folder, exact, rounded)
    oracle.free()


def with_adapters(oracle: Float32Model) -> peft.PeftModel:
    """PEFT around the oracle, its factors drawn anew: none is zero."""
    generator = torch.Generator().manual_seed(3)
    wrapped: peft.PeftModel | None = None
    for name, recipe in RECIPES.items():
        config = peft.LoraConfig(
            r=recipe.rank,
            lora_alpha=2 * recipe.rank,
            target_modules=recipe.modules,
            task_type="CAUSAL_LM",
        )
        if wrapped is None:
            wrapped = peft.get_peft_model(oracle._model, config, name)
        else:
            wrapped.add_adapter(name, config)
    assert wrapped is not None
    for key, parameter in wrapped.named_parameters():
        if "lora_" in key:
            recipe = RECIPES[next(name for name in RECIPES if name in key)]
            # A keeps the size of what it reads, B makes strength of it: half, as alpha doubles.
            if "_B" in key:
                size = recipe.strength / 2 * recipe.rank**-0.5
            else:
                size = 1.0 if "embedding" in key else parameter.shape[1] ** -0.5
            with torch.no_grad():
                parameter.normal_(0.0, size, generator=generator)
    return wrapped.eval()


def mixed_batch(wrapped: peft.PeftModel, text: list[int], order: list[str]) -> dict[str, Logits]:
    """PEFT's own: the text once for each row, each with its adapter."""
    with torch.inference_mode():
        logits = wrapped(torch.tensor([text] * len(order)), adapter_names=order).logits
    return dict(zip(order, logits.numpy(), strict=True))


@contextmanager
def int8_base_activations(wrapped: peft.PeftModel) -> Iterator[None]:
    """Within, products of the base alone read rounded activations."""
    hooks = [
        module.register_forward_pre_hook(_round_to_int8)
        for name, module in wrapped.named_modules()
        if isinstance(module, torch.nn.Linear) and "lora_" not in name
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def mixed_step(
    stored: StoredModel, text: list[int], rows: list[tuple[WeightedAdapter, ...]]
) -> list[Logits]:
    """One native step: the text once for each of `rows`; logits [tokens, vocabulary] of each."""
    pages = -(-len(text) // PAGE_TOKENS)
    count = len(rows) * len(text)
    added = adapter_rows([(len(text), each) for each in rows])
    with stored.step_lock:
        stored.native.step(
            CachePool(stored.native, pages * len(rows)),
            Team(2),
            tokens=np.array(text * len(rows), np.int32),
            page_table=np.arange(pages * len(rows), dtype=np.int32).reshape(len(rows), pages),
            segments=np.array([[row, 0, len(text)] for row in range(len(rows))], np.int32),
            layer_begin=0,
            layer_end=stored.hyperparameters.layer_count,
            logit_rows=np.arange(count, dtype=np.int32),
            adapters=added.natives,
            adapter_runs=added.runs,
            adapter_weights=added.weights,
        )
        logits = np.array(stored.native.logits(0, count))
    return np.split(logits, len(rows))


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_a_mixed_batch(
    peft_run: PeftRun,
    stored: StoredModel,
    precision: AdapterPrecision,
    capsys: pytest.CaptureFixture[str],
) -> None:
    packed: dict[str, tuple[WeightedAdapter, ...]] = {BASE: ()}
    for name in RECIPES:
        adapter = load_adapter(peft_run.folder / name, stored.adapter_base)
        packed[name] = (WeightedAdapter(stored.pack_adapter(adapter, precision)),)
    rows = mixed_step(stored, peft_run.text, [packed[name] for name in peft_run.order])
    for name, row in zip(peft_run.order, rows, strict=True):
        assert row.tobytes() == stored.logits(peft_run.text, packed[name]).tobytes()
    measured = dict(zip(peft_run.order, rows, strict=True))
    exact = peft_run.exact
    errors = {name: compare(exact[name], measured[name]) for name in measured}
    rounding = {name: compare(exact[name], peft_run.rounded[name]) for name in measured}
    moves = {name: compare(exact[BASE], exact[name]).root_mean_square for name in RECIPES}
    with capsys.disabled():
        for name, error in errors.items():
            change = f"moves {moves[name]:.2f}; " if name in moves else ""
            text = f"{change}{error}; rounding alone rms {rounding[name].root_mean_square:.4f}"
            print(f"\n  [{precision}] {name}: {text}", end="")
    assert min(moves.values()) > 5 * errors[BASE].root_mean_square
    check(dict.fromkeys(RECIPES, errors[BASE]), errors, BESIDE_BASE, MEAN_BESIDE_BASE)
    check(rounding, errors, BESIDE_ROUNDING, MEAN_BESIDE_ROUNDING)


def check(
    yardstick: dict[str, Difference], errors: dict[str, Difference], each: float, mean: float
) -> None:
    """Root mean squares in parts of the yardstick's; divergences, which are squares, likewise."""
    parts = [errors[n].root_mean_square / yardstick[n].root_mean_square for n in RECIPES]
    squares = [errors[n].divergence / yardstick[n].divergence for n in RECIPES]
    assert max(parts) <= each
    assert float(np.mean(parts)) <= mean
    assert max(squares) <= each**2 * 1.2
    assert float(np.mean(squares)) <= mean**2 * 1.2
