"""Fixtures that every layer's tests may use: the two test models and the evaluation text."""

from pathlib import Path

import pytest

from realm.catalog import Catalog


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """SmolLM2-135M-Instruct, Q4_1 (llama); fetched at the first use on a machine."""
    return Catalog().fetch("smollm2")


@pytest.fixture(scope="session")
def gemma3_path() -> Path:
    """Gemma 3 270M base, Q4_K_M (gemma3); fetched at the first use on a machine."""
    return Catalog().fetch("gemma3-270m")


@pytest.fixture(scope="session")
def english_text() -> str:
    """About 5,100 tokens of English prose, written for these tests."""
    return (Path(__file__).parent / "data" / "english.txt").read_text(encoding="utf-8")
