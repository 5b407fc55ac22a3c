"""Constraints and log probabilities through tenants: by program, directly, in a crowd."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from realm.config import EngineConfig, ModelConfig
from realm.errors import ConfigError, ConstraintError, RequestError
from realm.runtime import RuntimeManager, TenantRuntime

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 16},
        "age": {"type": "integer", "minimum": 1, "maximum": 120},
        "likes": {"type": "array", "items": {"enum": ["tea", "rain"]}, "maxItems": 3},
    },
    "required": ["name", "age", "likes"],
    "additionalProperties": False,
}
PROMPT = "A person as JSON:\n"
SEEDS = range(21)


@pytest.fixture(scope="module")
def tenant(smollm2_path: Path) -> Iterator[TenantRuntime]:
    with RuntimeManager(EngineConfig(threads=2)) as manager:
        yield manager.get_or_create_runtime_with_model("a", ModelConfig(smollm2_path, "smol"))


def draw(tenant: TenantRuntime, seed: int, **options):
    return tenant.generate(
        PROMPT, json_schema=SCHEMA, seed=seed, temperature=1, top_p=1, max_tokens=120, **options
    )


def assert_satisfies(text: str) -> None:
    document = json.loads(text)
    assert list(document) == ["name", "age", "likes"]
    assert isinstance(document["name"], str) and len(document["name"]) <= 16
    assert isinstance(document["age"], int) and 1 <= document["age"] <= 120
    assert len(document["likes"]) <= 3 and set(document["likes"]) <= {"tea", "rain"}


def test_real_models_every_draw_satisfies_the_schema_with_and_without_neighbours(tenant) -> None:
    alone = [draw(tenant, seed) for seed in SEEDS]
    for result in alone:
        assert result.finish_reason == "stop"
        assert_satisfies(result.text)
    assert len({result.text for result in alone}) > len(SEEDS) // 2
    with ThreadPoolExecutor(len(SEEDS) + 4) as callers:
        others = [callers.submit(tenant.generate, "Once", max_tokens=90, seed=n) for n in range(4)]
        jobs = [callers.submit(draw, tenant, seed, direct=seed % 2 == 0) for seed in SEEDS]
        crowded = [job.result() for job in jobs]
        assert all(other.result().token_ids for other in others)
    assert [each.token_ids for each in crowded] == [each.token_ids for each in alone]


@pytest.mark.parametrize("direct", [False, True])
def test_real_models_regex_and_grammar(tenant, direct: bool) -> None:
    options = {"temperature": 1, "seed": 3, "max_tokens": 40, "direct": direct}
    assert tenant.generate("x", regex="[ab]{5}", **options).text.strip("ab") == ""
    text = tenant.generate("x", grammar='start: ("tea" | "rain") /!{1,2}/', **options).text
    assert text.rstrip("!") in ("tea", "rain") and text.endswith("!")


@pytest.mark.parametrize("direct", [False, True])
def test_real_models_logprobs_go_with_their_tokens(tenant, direct: bool) -> None:
    stream = tenant.stream("The sea", max_tokens=12, temperature=0, logprobs=2, direct=direct)
    pieces = list(stream)
    result = stream.result
    assert result.logprobs is not None
    assert [each.token_id for each in result.logprobs] == list(result.token_ids)
    for each in result.logprobs:
        # Greedy: what was chosen is the most likely.
        assert each.top[0] == (each.token_id, each.logprob)
        assert each.logprob >= each.top[1][1]
        assert each.logprob < 0.0
    told = [each for piece in pieces for each in piece.logprobs]
    assert told == list(result.logprobs)[: len(told)]
    for piece in pieces:
        assert [each.token_id for each in piece.logprobs] == list(piece.token_ids)
    plain = tenant.generate("The sea", max_tokens=12, temperature=0, direct=direct)
    assert plain.logprobs is None
    assert plain.token_ids == result.token_ids


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"regex": "a("}, ConstraintError),
        ({"json_schema": {"type": "nothing"}}, ConstraintError),
        ({"grammar": "start: x"}, ConstraintError),
        ({"regex": "a", "grammar": "start: x"}, ConfigError),
        ({"json_schema": {1, 2}}, ConfigError),
        ({"logit_bias": {"x": 1.0}}, ConfigError),
        ({"logit_bias": {10**6: 1.0}}, RequestError),
        ({"logprobs": 21}, ConfigError),
    ],
)
def test_real_models_refuse_what_cannot_be_used(tenant, options, kind) -> None:
    with pytest.raises(kind):
        tenant.generate("x", max_tokens=2, **options)


def test_real_models_bias_decides(tenant) -> None:
    result = tenant.generate("x", temperature=0, max_tokens=3, logit_bias={345: 1000})
    assert result.token_ids == (345, 345, 345)
