"""Generations over the socket: what they say, where they stop, what they leave behind."""

from __future__ import annotations

import asyncio
import gc
import threading

import numpy as np
import pytest
from tests.server.engine_process.engines import call, connected, served

from realm import errors
from realm.config import ModelConfig
from realm.server.definitions import Limits, Model, Tenant
from realm.server.wire.messages import PIECE_CREDIT

_NOWHERE = Model("tiny", "nowhere.gguf")
LONG = {"max_tokens": 800, "ignore_eos": True, "seed": 7}


async def at_rest(client) -> None:
    """Returns when the engine has no sequence any more."""
    while True:
        figures = (await client.figures(of_tenants=False)).engine
        if not figures["sequences"] and not figures["running"]:
            return


def test_the_text_is_the_one_of_the_runtime_itself(manager, tiny_path):
    options = {"max_tokens": 40, "seed": 5, "ignore_eos": True, "logprobs": 2}

    async def run():
        async with served(manager, tiny_path) as client:
            generation = client.generate(call(**options))
            pieces = [piece async for piece in generation]
            whole = await client.generate(call(**options, wants_pieces=False)).result()
            return pieces, await generation.result(), whole

    pieces, finished, whole = asyncio.run(run())
    runtime = manager.get_or_create_runtime_with_model("b", ModelConfig(tiny_path, "tiny"))
    expected = runtime.generate("Once upon", **options)
    assert finished.text == whole.text == expected.text == "".join(each.text for each in pieces)
    assert finished.token_ids == whole.token_ids == list(expected.token_ids)
    assert [token for each in pieces for token in each.token_ids] == finished.token_ids
    assert finished.finish_reason == expected.finish_reason == "length"
    assert finished.prompt_token_count == len(expected.prompt_token_ids)
    assert finished.seconds["total_seconds"] > 0
    told = [each for piece in pieces for each in piece.logprobs]
    assert told == finished.logprobs
    assert [each.logprob for each in told] == [each.logprob for each in expected.logprobs]
    spoken = [each.data for each in told if not each.data.startswith(b"<|extra")]
    assert b"".join(spoken).decode(errors="replace") == finished.text
    assert all(len(each.top) == 2 for each in told)


@pytest.mark.parametrize("way", ["cancel", "drop", "result is cancelled"])
def test_whoever_goes_away_frees_the_sequence(manager, tiny_path, way):
    async def run():
        async with served(manager, tiny_path) as client:
            generation = client.generate(call(**LONG))
            await anext(generation)
            if way == "cancel":
                waiting = asyncio.create_task(generation.result())
                await asyncio.sleep(0)
                generation.cancel()
                generation.cancel()
                with pytest.raises(errors.CancelledError):
                    await waiting
                with pytest.raises(errors.CancelledError):
                    [each async for each in generation]
            elif way == "drop":
                del generation
                gc.collect()
            else:
                waiting = asyncio.create_task(generation.result())
                await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                del generation, waiting
                gc.collect()
            await at_rest(client)
            return await client.figures()

    figures = asyncio.run(run())
    assert figures.tenants["a"]["cancelled"] >= 1
    assert figures.tenants["a"]["completion_tokens"] < 800 * figures.tenants["a"]["requests"]


def test_a_client_that_takes_nothing_holds_up_itself_alone(manager, tiny_path):
    async def run():
        async with served(manager, tiny_path, [Tenant("a"), Tenant("b")]) as client:
            slow = client.generate(call(**LONG))
            waiting = slow._inbox._pieces
            for _ in range(30):
                others = await client.generate(call("b", max_tokens=20, ignore_eos=True)).result()
                assert len(others.token_ids) == 20
            assert 0 < len(waiting) <= PIECE_CREDIT
            text = "".join([piece.text async for piece in slow])
            finished = await slow.result()
            assert finished.text == text
            assert len(finished.token_ids) == 800
            return await client.generate(call(**LONG)).result(), finished

    again, finished = asyncio.run(run())
    assert again.text == finished.text


def test_many_at_once_are_not_mixed_up(manager, tiny_path):
    options = {"max_tokens": 30, "ignore_eos": True}

    async def run():
        tenants = [Tenant(f"t{number}") for number in range(8)]
        async with served(manager, tiny_path, tenants) as client:

            async def one(number):
                each = call(f"t{number % 8}", prompt=f"number {number}", seed=number, **options)
                return "".join([piece.text async for piece in client.generate(each)])

            together = await asyncio.gather(*[one(number) for number in range(32)])
            return together, [await one(number) for number in range(0, 32, 5)]

    together, alone = asyncio.run(run())
    assert together[::5] == alone
    assert len(set(together)) == 32


@pytest.mark.parametrize(
    ("fields", "kind", "words"),
    [
        ({"tenant_id": "nobody"}, errors.RequestError, "nobody"),
        ({"tenant_id": "off"}, errors.UnauthorizedError, "disabled"),
        ({"model": "other"}, errors.ModelNotFoundError, "other"),
        ({"tenant_id": "few"}, errors.ModelNotFoundError, "tiny"),
        ({"max_tokens": 51}, errors.ConfigError, "max_tokens is 51"),
        ({"colour": 1}, errors.ConfigError, "colour"),
        ({"options": {"direct": True}}, errors.ConfigError, "direct"),
        ({"options": {"on_news": 1}}, errors.ConfigError, "on_news"),
        ({"options": {"program": "x"}}, errors.ConfigError, "program"),
        ({"stop": 5}, errors.ConfigError, "wrong type"),
        ({"stop_token_ids": ["x"]}, errors.ConfigError, "wrong type"),
        ({"temperature": "hot"}, errors.ConfigError, "wrong type"),
        ({"json_schema": {"type": 5}}, errors.ConstraintError, "type"),
        ({"token_ids": [0] * 2000}, errors.ContextLengthError, "1024"),
        ({"token_ids": [-1]}, errors.RequestError, "-1"),
        ({"token_ids": []}, errors.RequestError, "empty"),
        ({"prompt": None}, errors.RequestError, "one of prompt"),
        ({"messages": [{"role": "user", "content": "x"}]}, errors.RealmError, "template"),
        ({"program": "none"}, errors.ProgramNotFoundError, "none"),
        ({"adapters": [("none", 1.0)]}, errors.AdapterNotFoundError, "none"),
        ({"adapters": [("x", float("nan"))]}, errors.ConfigError, "finite"),
        ({"prompt": "half \ud800"}, errors.RequestError, "cannot be sent"),
        ({"seed": 1 << 70}, errors.RequestError, "cannot be sent"),
        ({"options": {"stop": object()}}, errors.RequestError, "cannot be sent"),
        ({"prompt": "x" * (65 << 20)}, errors.RequestError, "67108864"),
    ],
    ids=lambda _: "",
)
def test_what_cannot_be_served_ends_in_its_error(manager, tiny_path, fields, kind, words):
    tenants = [
        Tenant("a", limits=Limits(max_tokens=50)),
        Tenant("off", is_enabled=False),
        Tenant("few", models=("another",)),
    ]

    async def run():
        async with served(manager, tiny_path, tenants) as client:
            generation = client.generate(call(**{"tenant_id": "a", **fields}))
            with pytest.raises(kind, match=words) as found:
                [each async for each in generation]
            with pytest.raises(kind):
                await generation.result()
            # The tenant's own limit is what a request gets that names no number.
            fine = await client.generate(call(ignore_eos=True)).result()
            return str(found.value), fine

    message, fine = asyncio.run(run())
    assert len(fine.token_ids) == 50
    assert str(tiny_path) not in message
    assert len(message) < 1000


def test_nothing_is_served_before_the_engine_knows_its_tenants(manager):
    async def run():
        async with connected(manager) as client:
            assert not client.is_ready
            with pytest.raises(errors.EngineUnavailableError, match="starting"):
                await client.generate(call()).result()
            with pytest.raises(errors.GGUFOpenError, match="nowhere"):
                await client.configure(models=[_NOWHERE], tenants=[])
            assert not client.is_ready

    asyncio.run(run())


def test_vectors(manager, tiny_path):
    inputs = ["a text", [1, 2, 3]]

    async def run():
        async with served(manager, tiny_path) as client:
            with pytest.raises(errors.ConfigError, match="pooling"):
                await client.embed("a", "tiny", inputs, "most")
            with pytest.raises(errors.RequestError, match="inputs"):
                await client.embed("a", "tiny", [], "mean")
            with pytest.raises(errors.ContextLengthError):
                await client.embed("a", "tiny", [[1] * 3000], "mean")
            with pytest.raises(errors.RequestError, match="cannot be sent"):
                await client.embed("a", "tiny", ["\ud800"], "mean")
            return await client.embed("a", "tiny", inputs, "mean")

    embedded = asyncio.run(run())
    model = manager.models["tiny"]
    ids = [model.tokenizer.encode("a text"), [1, 2, 3]]
    vectors = np.frombuffer(embedded.vectors, np.float32).reshape(2, embedded.dimension)
    assert np.array_equal(vectors, [model.embed_text(each) for each in ids])
    assert embedded.token_counts == [len(each) for each in ids]


def test_vectors_that_take_long_hold_up_nobodys_text(manager, tiny_path, monkeypatch):
    end = threading.Event()

    def embed(*_: object) -> None:
        end.wait()
        raise KeyError("a fault")

    monkeypatch.setattr("realm.server.engine_process.service.embed_texts", embed)
    tenants = [Tenant(f"t{number}") for number in range(12)]

    async def run():
        async with served(manager, tiny_path, tenants) as client:
            embeddings = [
                asyncio.create_task(client.embed(each.tenant_id, "tiny", ["x"], "mean"))
                for each in tenants
                for _ in range(2)
            ]
            await asyncio.sleep(0)
            for each in tenants:
                finished = await client.generate(call(each.tenant_id, max_tokens=2)).result()
                assert finished.prompt_token_count > 0
            assert not any(each.done() for each in embeddings)
            end.set()
            found = await asyncio.gather(*embeddings, return_exceptions=True)
            assert {type(each) for each in found} == {errors.ServerError}
            assert "KeyError" in str(found[0])
            await at_rest(client)

    try:
        asyncio.run(run())
    finally:
        end.set()
