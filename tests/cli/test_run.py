"""`realm run`: requests that reach the runtime, and what comes out."""

import json

import pytest


def test_json_has_the_promised_fields(realm, runtime, model_file):
    outcome = realm(
        "run", "--model", model_file, "--prompt", "Hi", "--max-tokens", 7, "--temperature", 0,
        "--seed", 5, "--threads", 3, "--cache-precision", "int8",
        "--top-k", 4, "--top-p", 0.5, "--stop", "a", "--stop", "b",
        "--min-p", 0.1, "--repetition-penalty", 1.1, "--presence-penalty", 0.2,
        "--frequency-penalty", 0.3, "--direct", "--json",
    )  # fmt: skip
    assert outcome.code == 0
    assert outcome.stderr == ""
    document = json.loads(outcome.stdout)
    assert set(document) == {"text", "token_ids", "prompt_token_ids", "finish_reason", "timings"}
    assert document["text"] == "Paris."
    assert document["prompt_token_ids"] == [ord("H"), ord("i")]
    assert document["timings"]["decode_seconds"] == 0.25
    request = runtime.requests[0]
    assert request["prompt"] == "Hi"
    assert request["max_tokens"] == 7
    assert (request["temperature"], request["top_p"], request["top_k"]) == (0.0, 0.5, 4)
    assert (request["seed"], request["stop"], request["direct"]) == (5, ("a", "b"), True)
    assert (request["min_p"], request["repetition_penalty"]) == (0.1, 1.1)
    assert (request["presence_penalty"], request["frequency_penalty"]) == (0.2, 0.3)
    assert runtime.threads == 3
    assert runtime.cache_precision == "int8"


def test_drafts(realm, runtime, model_file):
    realm("run", "--model", model_file, "--prompt", "Hi", "--draft", "d.gguf", "--draft-k", 0)
    assert runtime.requests[0]["draft_k"] == 0
    (configuration,) = runtime.configurations.values()
    assert str(configuration.draft_model_path) == "d.gguf"


def test_seed_is_drawn_where_none_is_given(realm, runtime, model_file):
    realm("run", "--model", model_file, "--prompt", "Hi")
    assert runtime.requests[0]["seed"] is None


def test_text_goes_to_stdout_and_statistics_to_stderr(realm, model_file):
    outcome = realm("run", "--model", model_file, "--prompt", "Hi")
    assert outcome.stdout == "Paris.\n"
    assert outcome.stderr == (
        "[2 + 6 tokens, stop; first after 600.0 ms; prefill 4.0 tok/s, decode 20.0 tok/s]\n"
    )


def test_chat_with_a_prompt_is_one_user_message(realm, runtime, model_file):
    realm("run", "--model", model_file, "--chat", "--system", "Be kind", "--prompt", "Hi")
    assert runtime.requests[0]["prompt"] is None
    assert runtime.requests[0]["messages"] == [
        {"role": "system", "content": "Be kind"},
        {"role": "user", "content": "Hi"},
    ]


def test_conversation_sees_its_history_and_ends_with_the_input(realm, runtime, model_file):
    runtime.answers = ["one", "two"]
    outcome = realm("run", "--model", model_file, "--chat", stdin="first\n\nsecond\n")
    assert outcome.code == 0
    assert outcome.stdout == "one\ntwo\n"
    assert [len(request["messages"]) for request in runtime.requests] == [1, 3]
    assert runtime.requests[1]["messages"] == [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "second"},
    ]


def test_conversation_on_a_terminal_prompts_and_can_be_left(realm, runtime, model_file):
    outcome = realm("run", "--model", model_file, "--chat", stdin="/exit\nmore\n", terminal=True)
    assert outcome.code == 0
    assert outcome.stderr.endswith("> ")
    assert runtime.requests == []


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--chat", "--json"],
        ["--prompt", "x", "--system", "y"],
        ["--prompt", "x", "--max-tokens", "0"],
        ["--prompt", "x", "--seed", "-1"],
        ["--prompt", "x", "--threads", "two"],
    ],
)
def test_options_that_make_no_sense_are_usage_errors(realm, runtime, model_file, words):
    assert realm("run", "--model", model_file, *words).code == 2
    assert runtime.requests == []


def test_model_that_is_not_there_is_told(realm):
    outcome = realm("run", "--model", "nothing.gguf", "--prompt", "x")
    assert outcome.code == 1
    assert outcome.stderr.startswith("error: no model 'nothing.gguf'")


def test_the_rest_of_the_policy_reaches_the_runtime(realm, runtime, model_file):
    realm(
        "run", "--model", model_file, "--prompt", "Hi", "--typical-p", 0.8,
        "--logit-bias", "3=-1.5", "--logit-bias", "4=2", "--regex", "a+",
    )  # fmt: skip
    request = runtime.requests[0]
    assert request["typical_p"] == 0.8
    assert request["logit_bias"] == {3: -1.5, 4: 2.0}
    assert (request["regex"], request["json_schema"], request["grammar"]) == ("a+", None, None)
    assert request["logprobs"] is None


def test_a_schema_may_stand_in_a_file(realm, runtime, model_file, tmp_path):
    schema = tmp_path / "schema.json"
    schema.write_text('{"type":"object"}', encoding="utf-8")
    words = ["run", "--model", model_file, "--prompt", "Hi"]
    realm(*words, "--json-schema", f"@{schema}")
    assert runtime.requests[0]["json_schema"] == '{"type":"object"}'
    outcome = realm(*words, "--json-schema", "@nothing.json")
    assert outcome.code == 1
    assert "nothing.json" in outcome.stderr


def test_log_probabilities_are_printed_when_they_are_asked_for(realm, model_file):
    outcome = realm("run", "--model", model_file, "--prompt", "Hi", "--logprobs", 2, "--json")
    first = json.loads(outcome.stdout)["logprobs"][0]
    assert first == {"token_id": ord("P"), "logprob": -1.5, "top": [[ord("P"), -1.5]]}


@pytest.mark.parametrize(
    "words",
    [["--regex", "a", "--grammar", "b"], ["--logit-bias", "3"], ["--logit-bias", "x=1"]],
)
def test_constraints_that_make_no_sense_are_usage_errors(realm, runtime, model_file, words):
    assert realm("run", "--model", model_file, "--prompt", "x", *words).code == 2
    assert runtime.requests == []
