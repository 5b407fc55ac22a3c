"""Fixtures that every layer's tests may use: two models, a text, and the example programs."""

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

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


@pytest.fixture(scope="session")
def guest_build() -> ModuleType:
    """guests/build.py: builds the default program and the examples from their sources."""
    path = Path(__file__).parents[1] / "guests" / "build.py"
    spec = importlib.util.spec_from_file_location("guest_build", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def example_program(
    guest_build: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., bytes]:
    """example_program(name, wide=False): a program of guests/examples, built at its first use."""
    folder = tmp_path_factory.mktemp("examples")

    @cache
    def build(name: str, *, wide: bool = False) -> bytes:
        output = folder / f"{name}-{wide}.wasm"
        guest_build.build_example(name, output, wide=wide)
        return output.read_bytes()

    return build
