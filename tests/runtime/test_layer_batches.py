"""Guests that wait for the same layer run as one batch, with the bits that each has alone."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import realm.runtime.manager as manager_module
from realm.cli.guest_compiler import compile_guest
from realm.config import EngineConfig, ModelConfig
from realm.engine import Engine, LayerRows
from realm.errors import ModelNotFoundError, RequestError
from realm.model import ModelStorage
from realm.runtime import GuestLimits, HostLimits, RuntimeManager
from tiny_model import HIDDEN, LAYERS, TinyModel

EXAMPLE = Path(__file__).parents[2] / "guests" / "examples" / "layers.c"
CONFIG = EngineConfig(threads=2, cache_bytes=64 << 20)
PROMPTS = [[3, 250, 17, 99, 4], [7] * 40, [1], [200, 31, 8, 61, 12, 5, 6], [9, 9], [42] * 33]


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def model_path(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return TinyModel(architecture=request.param).write(folder / "tiny.gguf")


def test_programs_meet_in_batches_and_keep_their_bits(model_path, tmp_path, monkeypatch):
    # Who has had more than its share of time would wait: here none passes, on no machine.
    monkeypatch.setattr(manager_module, "time", SimpleNamespace(perf_counter=lambda: 0.0))
    compile_guest([EXAMPLE], tmp_path / "layers.wasm")
    with RuntimeManager(
        CONFIG,
        (tmp_path / "layers.wasm").read_bytes(),
        limits=GuestLimits(memory_bytes=4 << 20),
        host_limits=HostLimits(guest_count=8, memory_bytes=4 << 20),
    ) as manager:
        tenants = [
            manager.get_or_create_runtime_with_model(f"tenant-{n}", ModelConfig(model_path, "tiny"))
            for n in range(len(PROMPTS))
        ]
        alone = [
            tenant.generate(token_ids=ids).response
            for tenant, ids in zip(tenants, PROMPTS, strict=True)
        ]
        sizes = []
        forward_layers = manager._engine.forward_layers

        def remember(calls):
            sizes.append(len(calls))
            return forward_layers(calls)

        manager._engine.forward_layers = remember
        at_gate, gate = threading.Event(), threading.Event()
        manager._parts.loop.call(lambda: (at_gate.set(), gate.wait(60)))
        assert at_gate.wait(60)  # what came along with the gate would begin before the others
        streams = [
            tenant.stream(token_ids=ids) for tenant, ids in zip(tenants, PROMPTS, strict=True)
        ]
        gate.set()
        for stream, response in zip(streams, alone, strict=True):
            assert list(stream) == []
            assert stream.result.response == response
        expected = [manager.models["tiny"].logits(ids)[-1].tobytes() for ids in PROMPTS]
    assert alone == expected
    assert sizes == [len(PROMPTS)] * LAYERS


def test_calls_of_several_layers_and_models_get_their_own_rows(model_path, tmp_path):
    storage = ModelStorage(2)
    first = storage.load(model_path)
    second = storage.load(TinyModel(block_type="Q8_0").write(tmp_path / "second.gguf"))
    rng = np.random.default_rng(5)
    inputs = [
        (model, layer, rng.standard_normal((rows, HIDDEN), np.float32))
        for model, layer, rows in [
            (first, 0, 3), (second, 0, 5), (first, 0, 1), (first, 2, 4), (second, 0, 40),
        ]
    ]  # fmt: skip

    def open_all():
        engine = Engine(CONFIG)
        return engine, [
            LayerRows(engine.open(model, "a"), layer, hidden, 0) for model, layer, hidden in inputs
        ]

    engine, calls = open_all()
    alone = [engine.forward_layer(c.sequence, c.layer, c.hidden, 0) for c in calls]
    engine, calls = open_all()
    broken = [
        LayerRows(calls[0].sequence, LAYERS, calls[0].hidden, 0),
        LayerRows(calls[1].sequence, 0, calls[1].hidden, 999),
        LayerRows(10**6, 0, calls[0].hidden, 0),
    ]
    answers = engine.forward_layers([*broken, *calls])
    assert [type(answer) for answer in answers[:3]] == [
        RequestError, RequestError, ModelNotFoundError,
    ]  # fmt: skip
    for answer, rows in zip(answers[3:], alone, strict=True):
        assert np.array_equal(answer.view(np.uint32), rows.view(np.uint32))
