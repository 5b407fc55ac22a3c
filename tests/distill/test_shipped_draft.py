"""The committed draft: small, of this target, and right often enough to be of use."""

from pathlib import Path

import numpy as np
import pytest

from realm import EngineConfig, ModelConfig, RuntimeManager
from realm.distill.acceptance import count_acceptance, foretold
from realm.model import ModelStorage, match_draft

_DRAFT = Path(__file__).parents[2] / "drafts" / "smollm2-135m-instruct.gguf"


@pytest.fixture(scope="module")
def target(smollm2_path):
    return ModelStorage(1).load(smollm2_path)


@pytest.fixture(scope="module")
def draft(target):
    return match_draft(target, ModelStorage(1).load(_DRAFT))


def test_draft_is_small(draft):
    assert _DRAFT.stat().st_size <= 10_000_000
    assert draft.stored.hyperparameters.layer_count == 1
    target = draft.from_target
    assert target[draft.to_target[:-1]].tolist() == list(range(len(draft.to_target) - 1))


def test_draft_foretells_a_third_of_an_answer(draft, target, smollm2_path):
    with RuntimeManager(EngineConfig(threads=1)) as runtime:
        tenant = runtime.get_or_create_runtime_with_model("plain", ModelConfig(smollm2_path))
        message = {"role": "user", "content": "Why do people keep a diary?"}
        answer = tenant.generate(messages=[message], temperature=0.0, max_tokens=96)
    tokens = np.array([*answer.prompt_token_ids, *answer.token_ids], np.int32)
    layers = draft.stored.hyperparameters.feature_layers
    features = target.draft_features(tokens[:-1].tolist(), layers)[
        len(answer.prompt_token_ids) - 1 :
    ]
    found = count_acceptance([foretold(draft, tokens, len(answer.prompt_token_ids), features)])
    assert found.places == len(answer.token_ids) > 32
    assert found.agreement > 1 / 3
    assert found.accepted_length[3] > 0.5
