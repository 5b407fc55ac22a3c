"""What the examples answer, on a real model, beside what they should."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from realm.config import EngineConfig, ModelConfig
from realm.errors import AdapterNotFoundError, GuestError
from realm.runtime import RuntimeManager
from realm.runtime.policy import TenantPolicy

CONFIG = EngineConfig(threads=2, cache_bytes=64 << 20)
NAME = "smol"
ADAPTERS = Path(__file__).parents[2] / "adapters" / "demo"


@pytest.fixture(scope="module")
def run_example(smollm2_path, example_program):
    """run_example(name, prompt, ...) -> (result, its response, the model).

    Every example is the program of a tenant of its name.
    """
    with RuntimeManager(CONFIG) as manager:

        def run(name, prompt, **options):
            manager.set_tenant_policy(name, TenantPolicy(program=example_program(name)))
            tenant = manager.get_or_create_runtime_with_model(name, ModelConfig(smollm2_path, NAME))
            result = tenant.generate(**prompt, **options)
            response = None if result.response is None else json.loads(result.response)
            return result, response, manager.models[NAME]

        yield run


def ask(question):
    return {"messages": [{"role": "user", "content": question}]}


def test_best_of_n_streams_what_the_model_finds_most_likely(run_example):
    result, response, model = run_example(
        "best_of_n", {"prompt": "The capital of France is"}, max_tokens=1, seed=3
    )
    candidates = response["candidates"]
    scores = [candidate["log_probability"] for candidate in candidates]
    assert len(candidates) == 4
    assert scores[response["best"]] == max(scores)
    assert result.text == candidates[response["best"]]["text"]
    prompt = model.tokenizer.encode("The capital of France is")
    logits = model.logits(prompt)[-1].astype(np.float64)
    log_probabilities = logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
    for candidate in candidates:
        (token,) = model.tokenizer.encode(candidate["text"], add_special=False)
        assert candidate["log_probability"] == pytest.approx(log_probabilities[token], abs=2e-3)
        assert candidate["tokens"] == 1


def test_best_of_n_draws_by_the_seed(run_example):
    prompt = ask("Name a color.")
    first, again, other = (
        run_example("best_of_n", prompt, max_tokens=8, seed=seed)[1] for seed in (1, 1, 2)
    )
    assert first == again != other
    assert len({candidate["text"] for candidate in first["candidates"]}) > 1


def test_the_vote_is_won_by_the_most_frequent_number(run_example):
    prompt = ask("What is 2 plus 2? Answer with one number.")
    result, response, _ = run_example("vote", prompt, max_tokens=24, seed=5)
    answers = response["answers"]
    counts = [answers.count(answer) if answer is not None else 0 for answer in answers]
    assert len(answers) == 5
    assert response["votes"] == max(counts) > 0
    assert int(result.text) == answers[counts.index(max(counts))]


def test_the_answer_is_repaired_until_it_is_a_number(run_example):
    prompt = {"prompt": "Tell me about the legs of spiders."}
    result, response, _ = run_example("repair", prompt, temperature=0)
    *rejected, accepted = response["attempts"]
    assert 1 <= len(rejected) <= 2
    assert response["is_valid"]
    assert result.text == accepted
    assert re.fullmatch(r"\s*-?[0-9]+\s*", accepted)
    assert not any(re.fullmatch(r"\s*-?[0-9]+\s*", attempt) for attempt in rejected)


def test_what_is_extracted_has_the_form_of_the_schema(run_example):
    prompt = {"prompt": "Marie Curie moved to Paris in 1891."}
    result, _, _ = run_example("extract_json", prompt, temperature=0, max_tokens=80)
    document = json.loads(result.text)
    assert set(document) == {"name", "city", "year"}
    assert "Curie" in document["name"]
    assert isinstance(document["city"], str)
    assert 0 <= document["year"] <= 9999


def test_an_extraction_without_room_fails(run_example):
    with pytest.raises(GuestError, match="REALM_E_CONTEXT"):
        run_example("extract_json", {"prompt": "Marie Curie"}, temperature=0, max_tokens=3)


def test_early_exit_tells_where_the_answer_settles(run_example):
    prompt = "The capital of France is"
    result, response, model = run_example("early_exit", {"prompt": prompt})
    tokens, settled = response["layers"], response["settled"]
    expected = int(model.logits(model.tokenizer.encode(prompt))[-1].argmax())
    assert len(tokens) == model.hyperparameters.layer_count + 1
    assert tokens[-1] == expected
    assert set(tokens[settled:]) == {expected}
    assert settled == 0 or tokens[settled - 1] != expected
    assert result.text.encode() == model.tokenizer.decode_bytes([expected])


ROUTED = {
    "sql": (
        "Table cars(model, price, year). Which cars cost more than 9000?",
        "Table staff(name, age, job). What is the average age?",
    ),
    "json": (
        "Omar is 41, works as a nurse and lives in Lyon.",
        "Victor Lind is a 63-year-old teacher from Oslo.",
    ),
}


@pytest.fixture(scope="module")
def router(smollm2_path, example_program):
    """The router's tenant, with the adapters that it names, and a third one for all requests."""
    with RuntimeManager(CONFIG, example_program("router")) as manager:
        tenant = manager.get_or_create_runtime_with_model("r", ModelConfig(smollm2_path, NAME))
        for voice in ("sql", "json", "pirate"):
            manager.lora.load(voice, ADAPTERS / voice, "r")
        manager.set_tenant_lora_adapter("r", "pirate")
        yield tenant


@pytest.mark.parametrize("adapter", ROUTED)
@pytest.mark.parametrize("number", [0, 1])
def test_the_router_answers_as_the_adapter_of_the_messages_kind(router, adapter, number):
    options = ask(ROUTED[adapter][number]) | {"temperature": 0.0, "max_tokens": 40}
    routed = router.generate(**options)
    alone = {each: router.generate(**options, adapters=each, direct=True) for each in ROUTED}
    response = json.loads(routed.response)
    assert response["adapter"] == adapter
    assert response["lead"] > 0
    assert routed.text == alone[adapter].text
    assert routed.token_ids == alone[adapter].token_ids
    assert routed.prompt_token_ids == alone[adapter].prompt_token_ids
    assert routed.finish_reason == alone[adapter].finish_reason == "stop"
    assert len({routed.text, *(each.text for each in alone.values())}) == 2


def test_the_routers_answer_keeps_the_requests_constraint(router):
    options = ask(ROUTED["sql"][0]) | {
        "temperature": 0.0,
        "max_tokens": 40,
        "regex": "SELECT [a-z]+",
    }
    routed = router.generate(**options)
    assert re.fullmatch("SELECT [a-z]+", routed.text)
    assert routed.text == router.generate(**options, adapters="sql", direct=True).text


def test_the_router_without_its_adapters_fails(run_example):
    with pytest.raises(AdapterNotFoundError, match="'sql'"):
        run_example("router", ask(ROUTED["sql"][0]), max_tokens=4)
