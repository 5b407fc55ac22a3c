"""`realm bench`: fields, workloads, and the arithmetic of rates."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.cli.measurement import SessionTimes, Speed, Workload, decode_alone, median_speed
from realm.cli.process_memory import peak_memory_bytes


def bench(realm, model_file, *words):
    outcome = realm("bench", *words, "--model", model_file, "--threads", 2, "--json")
    assert outcome.code == 0, outcome.stderr
    return json.loads(outcome.stdout)


def test_decode_reports_rate_memory_and_roofline(realm, runtime, model_file):
    document = bench(realm, model_file, "decode", "--tokens", 26, "--repeats", 3, "--warm-up", 2)
    assert document["tokens_per_second"] == pytest.approx(25 / 0.25)
    assert document["seconds"] == 0.25
    assert len(document["runs"]) == 3
    assert document["peak_rss_bytes"] > 1_000_000
    roofline = document["roofline"]
    assert roofline["bandwidth_bytes_per_second"] == 20e9
    assert roofline["bytes_per_step"] == 96_000_000
    assert roofline["fraction"] == pytest.approx(100 * 96e6 / 20e9)
    assert len(runtime.requests) == 5
    assert all(len(request["token_ids"]) == 64 for request in runtime.requests)
    assert all(request["ignore_eos"] for request in runtime.requests)
    assert not any(request["direct"] for request in runtime.requests)


def test_batch_runs_every_tenant_at_once_with_its_own_prompt(realm, runtime, model_file):
    document = bench(
        realm, model_file, "decode", "--batch", 4, "--tokens", 50, "--repeats", 1, "--warm-up", 0,
        "--direct",
    )  # fmt: skip
    assert document["batch"] == 4
    assert document["tokens_per_second"] == pytest.approx(4 * 49 / 0.25, rel=0.2)
    assert document["tokens_per_second_overall"] > 0
    assert len(runtime.requests) == 4
    assert {request["tenant"] for request in runtime.requests} == {f"bench-{i}" for i in range(4)}
    assert len({tuple(request["token_ids"]) for request in runtime.requests}) == 4
    assert all(request["direct"] for request in runtime.requests)


def test_prefill_divides_the_prompt_by_its_time(realm, runtime, model_file):
    document = bench(realm, model_file, "prefill")
    assert document["tokens_per_second"] == pytest.approx(512 / 0.5)
    assert document["roofline"]["fraction"] == pytest.approx(2 * 96e6 / 20e9)
    assert all(request["max_tokens"] == 1 for request in runtime.requests)


def test_table_for_people(realm, model_file):
    outcome = realm("bench", "decode", "--model", model_file, "--tokens", 26)
    assert "decode        100.0 tok/s" in outcome.stdout
    assert "peak memory" in outcome.stdout


def test_prompts_have_the_asked_length_and_differ():
    workload = Workload(tuple(range(100)), prompt_tokens=250, tokens=1, direct=False)
    prompts = [tuple(workload.prompt(number)) for number in range(20)]
    assert {len(prompt) for prompt in prompts} == {250}
    assert len(set(prompts)) == 20


def test_tokens_from_before_the_last_prefill_are_not_counted():
    early = SessionTimes(first=1.0, last=10.0, tokens=10)
    late = SessionTimes(first=3.0, last=12.0, tokens=10)
    watched = [(1.0, 1), (2.0, 1), (3.0, 1), (4.0, 1)]
    assert decode_alone([early, late], watched) == (9 - 2 + 9, 9.0)


def test_failure_of_one_session_is_raised(realm, runtime, model_file):
    runtime.context_length = 10
    words = ["bench", "decode", "--model", model_file, "--batch", 3, "--prompt-tokens", 11]
    outcome = realm(*words)
    assert outcome.code == 1
    assert "do not fit" in outcome.stderr


@given(st.lists(st.floats(0.001, 1000.0), min_size=1))
def test_median_speed_is_one_of_the_runs(seconds):
    speeds = [Speed(10, each, 10, each) for each in seconds]
    median = median_speed(speeds)
    assert median in speeds
    slower = sum(speed.tokens_per_second < median.tokens_per_second for speed in speeds)
    faster = sum(speed.tokens_per_second > median.tokens_per_second for speed in speeds)
    assert slower <= len(speeds) // 2
    assert faster <= len(speeds) // 2


def test_peak_memory_grows_with_what_is_held():
    before = peak_memory_bytes()
    held = bytearray(before)
    assert peak_memory_bytes() >= before + len(held) // 2
