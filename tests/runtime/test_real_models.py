"""The two test models through tenants' programs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from realm.config import EngineConfig, ModelConfig
from realm.runtime import RuntimeManager

CONFIG = EngineConfig(threads=2)
QUESTION = [
    {"role": "system", "content": "Answer every question in one short sentence."},
    {"role": "user", "content": "What is the capital of France?"},
]


@pytest.fixture(scope="module")
def smollm2(smollm2_path: Path) -> Iterator[RuntimeManager]:
    """SmolLM2 under the name "smol", with the default program."""
    with RuntimeManager(CONFIG) as manager:
        manager.get_or_create_runtime_with_model("a", ModelConfig(smollm2_path, "smol"))
        yield manager


def test_the_answer_names_paris(smollm2: RuntimeManager, smollm2_path: Path) -> None:
    tenant = smollm2.get_or_create_runtime_with_model("a", ModelConfig(smollm2_path, "smol"))
    with tenant.stream(messages=QUESTION, temperature=0, max_tokens=40) as stream:
        pieces = [piece.text for piece in stream]
    assert "Paris" in "".join(pieces)
    assert len(pieces) > 3
    assert stream.result.finish_reason == "stop"
    direct = tenant.generate(messages=QUESTION, temperature=0, max_tokens=40, direct=True)
    assert direct.token_ids == stream.result.token_ids
    assert direct.text == "".join(pieces)


@pytest.mark.parametrize("which", ["smollm2_path", "gemma3_path"])
def test_layer_by_layer_gives_the_bits_of_a_session(
    request: pytest.FixtureRequest, which: str, example_program: Callable[..., bytes]
) -> None:
    path: Path = request.getfixturevalue(which)
    program = example_program("layers")
    token_ids = np.random.default_rng(5).integers(5, 40000, 45).tolist()
    with RuntimeManager(CONFIG, program) as manager:
        tenant = manager.get_or_create_runtime_with_model("a", ModelConfig(path, "model"))
        response = tenant.generate(token_ids=token_ids).response
        expected = manager.models["model"].logits(token_ids)[-1]
    assert response == expected.tobytes()


def test_tenants_share_the_weights(smollm2: RuntimeManager, smollm2_path: Path) -> None:
    first = smollm2.models["smol"]
    smollm2.get_or_create_runtime_with_model("b", ModelConfig(smollm2_path, "another name"))
    assert smollm2.models["another name"].native is first.native
