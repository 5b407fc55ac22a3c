"""OpenAI's own Python client, unmodified, over a socket."""

import asyncio
import base64
import json
import struct
from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI
from tests.server.fakes import FakeEngine
from tests.server.openai.fronts import KEY, make_front, served

from realm.errors import (
    ContextLengthError,
    EngineUnavailableError,
    GuestTrapError,
    NativeError,
)
from realm.server.definitions import Limits, Tenant

TEXT = "Grüße an 東京 😀 und alle."
MESSAGES = [{"role": "user", "content": "Say it."}]


@pytest.fixture(scope="module")
def front() -> Iterator[tuple[FakeEngine, str]]:
    engine = FakeEngine(TEXT)
    with served(make_front(engine)) as address:
        yield engine, address


@pytest.fixture
def engine(front: tuple[FakeEngine, str]) -> Iterator[FakeEngine]:
    engine = front[0]
    yield engine
    engine.generations.clear()
    engine.error, engine.error_after, engine.gate, engine.is_ready = None, 0, None, True


@pytest.fixture
def client(front: tuple[FakeEngine, str]) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{front[1]}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def test_an_answer_to_a_conversation(engine: FakeEngine, client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny",
        messages=[
            {"role": "developer", "content": "Be short."},
            {"role": "user", "content": [{"type": "text", "text": "Say "}]},
            {"role": "user", "content": [{"type": "text", "text": "a"}] * 2},
        ],
        user="ignored",
        metadata={"ignored": "too"},
    )
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.model_dump(include={"prompt_tokens", "completion_tokens"}) == {
        "prompt_tokens": 7,
        "completion_tokens": 6,
    }
    assert answer.usage.total_tokens == 13
    assert answer.id.startswith("chatcmpl-")
    assert answer.system_fingerprint.startswith("fp_")
    assert answer.model == "tiny"
    call = engine.generations[0].call
    assert call.tenant_id == "acme"
    assert call.messages == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Say "},
        {"role": "user", "content": "aa"},
    ]
    assert call.options == {"max_tokens": 1000, "temperature": 1.0, "top_p": 1.0}
    assert not call.wants_pieces


def test_every_option_reaches_the_engine(engine: FakeEngine, client: OpenAI) -> None:
    client.chat.completions.create(
        model="tiny:french",
        messages=MESSAGES,
        max_completion_tokens=5,
        temperature=0.25,
        top_p=0.5,
        presence_penalty=-1.5,
        frequency_penalty=1,
        seed=42,
        stop=["\n", "End"],
        logit_bias={"17": -100, "18": 2.5},
        logprobs=True,
        top_logprobs=3,
        extra_body={
            "realm": {
                "speculation": False,
                "program": "mine",
                "regex": "[a-z]+",
                "top_k": 4,
                "min_p": 0.1,
                "typical_p": 0.9,
                "repetition_penalty": 1.1,
                "scale": 0.5,
            }
        },
    )
    call = engine.generations[0].call
    assert call.options == {
        "max_tokens": 5,
        "temperature": 0.25,
        "top_p": 0.5,
        "presence_penalty": -1.5,
        "frequency_penalty": 1.0,
        "seed": 42,
        "stop": ["\n", "End"],
        "logit_bias": {17: -100.0, 18: 2.5},
        "logprobs": 3,
        "draft_k": 0,
        "regex": "[a-z]+",
        "top_k": 4,
        "min_p": 0.1,
        "typical_p": 0.9,
        "repetition_penalty": 1.1,
    }
    assert call.model == "tiny"
    assert call.adapters == [("french", 0.5)]
    assert call.program == "mine"


@pytest.mark.parametrize(
    ("adapter", "scale", "expected"),
    [
        ("french", None, [("french", 1.0)]),
        (["french", ["formal", 0.5]], None, [("french", 1.0), ("formal", 0.5)]),
        ([["french", 2]], 0.25, [("french", 0.5)]),
        ([], None, []),
        (None, None, None),
    ],
)
def test_adapters_by_name_and_weight(
    engine: FakeEngine, client: OpenAI, adapter, scale, expected
) -> None:
    extra = {"realm": {"adapter": adapter, "scale": scale}}
    client.chat.completions.create(model="tiny", messages=MESSAGES, extra_body=extra)
    assert engine.generations[0].call.adapters == expected


def test_a_stream_of_an_answer(engine: FakeEngine, client: OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    texts = [chunk.choices[0].delta.content for chunk in chunks]
    assert "".join(text or "" for text in texts) == TEXT
    assert [text for text in texts if text] == ["Grüße", " an", " 東京", " 😀", " und", " alle."]
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert engine.generations[0].call.wants_pieces
    assert all(chunk.usage is None for chunk in chunks)


def test_several_streams_at_once_with_usage(engine: FakeEngine, client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="tiny",
        messages=MESSAGES,
        n=3,
        seed=(1 << 63) - 1,
        max_tokens=4,
        stream=True,
        stream_options={"include_usage": True},
    )
    texts, order, ends, usage = {0: "", 1: "", 2: ""}, [], {}, None
    for chunk in stream:
        if chunk.usage is not None:
            usage = chunk.usage
            assert chunk.choices == []
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            order.append(choice.index)
            if choice.finish_reason:
                ends[choice.index] = choice.finish_reason
    assert texts == dict.fromkeys(range(3), "Grüße an 東京 😀")
    assert ends == dict.fromkeys(range(3), "length")
    assert order != sorted(order), "answers came one after the other"
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 12, 19)
    seeds = [generation.call.options["seed"] for generation in engine.generations]
    assert seeds == [(1 << 63) - 1, 1 << 63, (1 << 63) + 1]


def test_log_probabilities_whole_and_streamed(engine: FakeEngine, client: OpenAI) -> None:
    asked = {"model": "tiny", "messages": MESSAGES, "logprobs": True, "top_logprobs": 2}
    whole = client.chat.completions.create(**asked).choices[0].logprobs.content
    assert [entry.token for entry in whole][:2] == ["Grüße", " an"]
    assert bytes(whole[0].bytes).decode() == "Grüße"
    assert [top.logprob for top in whole[0].top_logprobs] == [-0.5, -1.5]
    streamed = [
        entry
        for chunk in client.chat.completions.create(**asked, stream=True)
        if chunk.choices[0].logprobs is not None
        for entry in chunk.choices[0].logprobs.content
    ]
    assert streamed == whole


def test_answers_of_a_schema(engine: FakeEngine, client: OpenAI) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "number", "multipleOf": 0.1}}}
    named = {"name": "answer", "schema": schema, "strict": True}
    formats = [{"type": "json_schema", "json_schema": named}, {"type": "json_object"}]
    for answer_format in [*formats, {"type": "text"}]:
        client.chat.completions.create(
            model="tiny", messages=MESSAGES, response_format=answer_format
        )
    given = [each.call.options.get("json_schema") for each in engine.generations]
    assert json.loads(given[0]) == schema
    assert json.loads(given[1]) == {"type": "object"}
    assert given[2] is None


def test_completions_of_texts_and_token_ids(engine: FakeEngine, client: OpenAI) -> None:
    answer = client.completions.create(
        model="tiny", prompt=["one", "two"], n=2, seed=5, max_tokens=2, logprobs=1
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert {choice.text for choice in answer.choices} == {"Grüße an"}
    assert {choice.finish_reason for choice in answer.choices} == {"length"}
    assert answer.usage.prompt_tokens == 14
    assert answer.usage.completion_tokens == 8
    logprobs = answer.choices[3].logprobs
    assert logprobs.tokens == ["Grüße", " an"]
    assert logprobs.text_offset == [0, 5]
    assert logprobs.top_logprobs == [{"Grüße": -0.5}, {" an": -0.5}]
    calls = [each.call for each in engine.generations]
    assert sorted((call.prompt, call.options["seed"]) for call in calls) == [
        ("one", 5),
        ("one", 6),
        ("two", 5),
        ("two", 6),
    ]
    engine.generations.clear()
    client.completions.create(model="tiny", prompt=[1, 2, 3])
    client.completions.create(model="tiny", prompt=[[4], [5, 6]])
    calls = [each.call for each in engine.generations]
    assert [call.token_ids for call in calls] == [[1, 2, 3], [4], [5, 6]]
    assert calls[0].options["max_tokens"] == 16


def test_a_stream_of_a_completion(engine: FakeEngine, client: OpenAI) -> None:
    stream = client.completions.create(model="tiny", prompt="x", stream=True, logprobs=0)
    chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks) == TEXT
    offsets = [each.choices[0].logprobs.text_offset[0] for each in chunks[:-1]]
    assert offsets == [0, 5, 8, 11, 13, 17]
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_models(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny", "tiny:french", "tiny:formal"]
    assert client.models.retrieve("tiny:french").id == "tiny:french"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("secret")


def test_embeddings_as_numbers_and_as_base64(client: OpenAI) -> None:
    # Without an encoding the client asks for base64 and decodes it itself.
    for encoding in ({}, {"encoding_format": "float"}):
        answer = client.embeddings.create(model="tiny", input=["one", "two"], **encoding)
        assert [each.embedding for each in answer.data] == [[1, 0, 0, 0], [0, 1, 0, 0]]
        assert answer.usage.prompt_tokens == 6
    assert len(client.embeddings.create(model="tiny", input=[1, 2]).data) == 1
    assert len(client.embeddings.create(model="tiny", input=[[1], [2]]).data) == 2
    raw = client.embeddings.with_raw_response.create(
        model="tiny", input="a", encoding_format="base64"
    )
    vector = base64.b64decode(raw.http_response.json()["data"][0]["embedding"])
    assert struct.unpack("<4f", vector) == (1, 0, 0, 0)
    with pytest.raises(openai.BadRequestError, match="dimensions"):
        client.embeddings.create(model="tiny", input="a", dimensions=2)


def test_wrong_keys(front: tuple[FakeEngine, str]) -> None:
    with OpenAI(base_url=f"{front[1]}/v1", api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as raised:
            client.models.list()
        assert raised.value.code == "invalid_api_key"
        assert raised.value.response.headers["www-authenticate"].startswith("Bearer")


def test_errors_as_the_client_types_them(engine: FakeEngine, client: OpenAI) -> None:
    def ask(**more) -> None:
        client.chat.completions.create(**{"model": "tiny", "messages": MESSAGES, **more})

    with pytest.raises(openai.NotFoundError) as missing:
        ask(model="other")
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError) as adapter:
        ask(extra_body={"realm": {"adapter": "secret"}})
    assert adapter.value.code == "adapter_not_found"
    with pytest.raises(openai.BadRequestError) as wrong:
        ask(temperature=-1)
    assert wrong.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as content:
        ask(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}])
    assert content.value.param == "messages[0].content[0].type"
    with pytest.raises(openai.BadRequestError, match="tools"):
        ask(tools=[{"type": "function", "function": {"name": "f"}}])
    engine.error = ContextLengthError("9000 tokens exceed the context of 8192")
    with pytest.raises(openai.BadRequestError) as long:
        ask()
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError):
        ask(stream=True)  # nothing was streamed yet, so it is a response of its own
    engine.error = GuestTrapError("the program divided by zero")
    with pytest.raises(openai.UnprocessableEntityError):
        ask()
    engine.error = NativeError("pointer 0x7f00 in /srv/models/secret.gguf")
    with pytest.raises(openai.InternalServerError) as inside:
        ask()
    assert "0x7f00" not in str(inside.value)
    assert "secret" not in str(inside.value)
    engine.is_ready = False
    with pytest.raises(openai.InternalServerError) as away:
        ask()
    assert away.value.status_code == 503
    assert away.value.response.headers["retry-after"] == "2"


def test_limits_of_a_tenant() -> None:
    tenant = Tenant("acme", limits=Limits(requests_per_minute=1, max_tokens=2))
    engine = FakeEngine(TEXT)
    with (
        served(make_front(engine, tenant=tenant)) as address,
        OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as client,
    ):
        answer = client.completions.create(model="tiny", prompt="x", max_tokens=500)
        assert answer.choices[0].finish_reason == "length"
        assert answer.choices[0].text == "Grüße an"
        for ask in (
            lambda: client.completions.create(model="tiny", prompt="x"),
            lambda: client.completions.create(model="tiny", prompt="x", stream=True),
            lambda: client.embeddings.create(model="tiny", input="x"),
        ):
            with pytest.raises(openai.RateLimitError) as raised:
                ask()
            assert int(raised.value.response.headers["retry-after"]) >= 1


def test_an_error_in_the_middle_of_a_stream(engine: FakeEngine, client: OpenAI) -> None:
    engine.error, engine.error_after = EngineUnavailableError("the engine was lost", 1.0), 2
    texts = []
    with pytest.raises(openai.APIError, match="the engine was lost") as raised:
        for chunk in client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True):
            texts.append(chunk.choices[0].delta.content)
    assert texts == ["", "Grüße", " an"]
    assert raised.value.code == "engine_unavailable"


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_cancels(n: int, stream: bool) -> None:
    """Both ends in one loop, so that the test sees the moment."""
    engine = FakeEngine(TEXT)
    engine.gate = asyncio.Semaphore(2 * n)

    async def go(address: str) -> None:
        async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key=KEY) as client:
            asked = {"model": "tiny", "messages": MESSAGES, "n": n}
            if stream:
                answer = await client.chat.completions.create(**asked, stream=True)
                await anext(answer)
                await answer.close()
            else:
                waiting = asyncio.create_task(client.chat.completions.create(**asked))
                while len(engine.generations) < n:
                    await asyncio.sleep(0)
                waiting.cancel()
            while not all(generation.is_cancelled for generation in engine.generations):
                await asyncio.sleep(0)

    with served(make_front(engine)) as address:
        asyncio.run(asyncio.wait_for(go(address), 20))
    assert len(engine.generations) == n
