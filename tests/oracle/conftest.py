"""Fixtures of the oracle's tests: one model at a time, in float32 and in Realm."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest

from realm.model import ModelStorage, StoredModel

from . import THREADS
from .comparison import negative_log_likelihood
from .expectations import (
    EXPECTATIONS,
    PERPLEXITY_WINDOW,
    PERPLEXITY_WINDOWS,
    PROMPTS,
    Expectation,
)
from .float32_model import Float32Model


@pytest.fixture(scope="session", params=list(EXPECTATIONS))
def model_name(request) -> str:
    """Every oracle test runs once a model; pytest groups them, so one oracle is alive at a time."""
    return request.param


@pytest.fixture(scope="session")
def expectation(model_name) -> Expectation:
    return EXPECTATIONS[model_name]


@pytest.fixture(scope="session")
def model_path(request, model_name):
    return request.getfixturevalue(f"{model_name}_path")


@pytest.fixture(scope="session")
def oracle(model_path) -> Iterator[Float32Model]:
    model = Float32Model.from_gguf(model_path)
    yield model
    model.free()


@pytest.fixture(scope="session")
def stored_model(model_path) -> StoredModel:
    return ModelStorage(THREADS).load(model_path)


@pytest.fixture(scope="session")
def encode(stored_model) -> Callable[[str], list[int]]:
    """Text to token ids, the model's beginning-of-text token first where it wants one."""
    return lambda text: list(stored_model.tokenizer.encode(text))


@pytest.fixture(scope="session")
def prompts(encode) -> dict[str, list[int]]:
    return {text: encode(text) for text in PROMPTS}


@pytest.fixture(scope="session")
def windows(encode, english_text) -> list[list[int]]:
    """The evaluation text in windows, each beginning as the model's texts do."""
    beginning = encode("")
    token_ids = encode(english_text)[len(beginning) :]
    step = PERPLEXITY_WINDOW - len(beginning)
    return [
        beginning + token_ids[index * step : (index + 1) * step]
        for index in range(PERPLEXITY_WINDOWS)
    ]


@pytest.fixture(scope="session")
def long_passage(encode, english_text) -> list[int]:
    """640 tokens of the text: more than gemma's sliding window of 512."""
    return encode(english_text)[:640]


@pytest.fixture(scope="session")
def long_passage_logits(oracle, long_passage) -> npt.NDArray[np.float32]:
    return oracle.logits(long_passage)


@pytest.fixture(scope="session")
def oracle_likelihoods(oracle, windows) -> list[float]:
    """Negative log likelihood of each window under the oracle, in nats."""
    totals = []
    for window in windows:
        next_ids = np.array(window[1:])
        total, first = 0.0, 0
        for rows in oracle.logit_rows(window):
            chosen = next_ids[first : first + len(rows)]
            total += negative_log_likelihood(rows[: len(chosen)], chosen)
            first += len(rows)
        totals.append(total)
    return totals


@pytest.fixture
def report(capsys, model_name) -> Callable[[str], None]:
    """Prints a measured figure past pytest's capture, so that every run shows it."""

    def print_figure(text: str) -> None:
        with capsys.disabled():
            print(f"\n  [{model_name}] {text}", end="")

    return print_figure
