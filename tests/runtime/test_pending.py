"""Requests whose caller waits nowhere, and programs that requests name."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from realm.config import ModelConfig
from realm.errors import (
    CancelledError,
    ConfigError,
    ContextLengthError,
    DraftMismatchError,
    GuestCompileError,
    ProgramNotFoundError,
)
from realm.runtime import RuntimeManager, TenantPolicy
from realm.runtime.program import default_program
from realm.runtime.tenant_registry import RegisteredTenant, TenantRegistry
from tiny_model import TinyModel

from .conftest import CONFIG, SMALL
from .fakes import CONTEXT

BOTH = pytest.mark.parametrize("direct", [False, True], ids=["guest", "direct"])


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinyModel().write(tmp_path_factory.mktemp("pending") / "tiny.gguf")


class Listener:
    """News are counted; `wait` returns at the next."""

    def __init__(self) -> None:
        self._news = threading.Semaphore(0)

    def __call__(self) -> None:
        self._news.release()

    def wait(self) -> None:
        assert self._news.acquire(timeout=30)


def take_all(pending, news, most=1 << 20) -> list:
    pieces = []
    while not pending.is_over:
        news.wait()
        while taken := pending.take(most):
            assert len(taken) <= most
            pieces += taken
    return pieces


@BOTH
@pytest.mark.parametrize("most", [1, 1000])
def test_pieces_come_without_waiting(speak, direct, most):
    news = Listener()
    pending = speak(b"abcdef").submit("x", direct=direct, on_news=news)
    pieces = take_all(pending, news, most)
    assert "".join(piece.text for piece in pieces) == pending.result().text == "abcdef"
    assert pending.take(5) == []
    pending.cancel()
    assert pending.result().finish_reason == "stop"


@BOTH
def test_the_result_alone(speak, direct):
    news = Listener()
    tenant = speak(b"abcdef")
    pending = tenant.submit("x", direct=direct, on_news=news, wants_pieces=False)
    assert take_all(pending, news) == []
    assert pending.result().text == "abcdef"


@BOTH
def test_what_nobody_takes_holds_its_request_back(speak, direct):
    tenant = speak(None)
    news = Listener()
    prompt = [97] * 900
    pending = tenant.submit(token_ids=prompt, max_tokens=1000, direct=direct, on_news=news)
    is_full = threading.Event()
    sequences = tenant.stage.engine.sequences

    def generated() -> int:
        return max((len(s.tokens) - 900 for s in sequences.values()), default=0)

    tenant.stage.engine.on_step = lambda: is_full.set() if generated() >= 256 else None
    assert is_full.wait(30)
    for _ in range(3):
        assert tenant.generate("others go on", direct=direct).text == "others go on"
    assert generated() <= 258
    assert not pending.is_over
    first = pending.take(300)
    assert len(first) <= 256
    rest = take_all(pending, news, 10)
    assert len("".join(piece.text for piece in first + rest)) == 899


@BOTH
def test_cancelling_is_told_as_an_end(speak, direct):
    tenant = speak(b"x" * 1500)
    news = Listener()
    pending = tenant.submit("x", max_tokens=1500, direct=direct, on_news=news)
    news.wait()
    pending.cancel()
    take_all(pending, news)
    assert pending.result().finish_reason == "cancelled"
    assert not tenant.stage.engine.sequences


@BOTH
def test_errors_stand_in_the_result(speak, direct):
    tenant = speak(b"abc")
    news = Listener()
    pending = tenant.submit(token_ids=[1] * (CONTEXT + 1), direct=direct, on_news=news)
    assert take_all(pending, news) == []
    with pytest.raises(ContextLengthError):
        pending.result()
    with pytest.raises(ConfigError, match="colour"):
        tenant.submit("x", on_news=news, colour=1)
    running = speak(b"x" * 1500).submit("x", max_tokens=1500, direct=direct, on_news=news)
    news.wait()
    tenant.stage.close()
    running.cancel()


def test_a_closed_runtime_tells_the_end(speak):
    tenant = speak(b"x" * 1500)
    news = Listener()
    pending = tenant.submit("x", max_tokens=1500, on_news=news)
    news.wait()
    tenant.stage.loop.close()
    take_all(pending, news)
    with pytest.raises(CancelledError):
        pending.result()


def test_programs_by_name(open_manager, tenant_of, compile_wat):
    manager = open_manager()
    programs = {"usual": default_program(), "broken": b"no module"}
    tenant = tenant_of(manager, "a", programs=programs)
    expected = tenant.generate("x", max_tokens=8, seed=1).text
    assert tenant.generate("x", max_tokens=8, seed=1, program="usual").text == expected
    with tenant.stream("x", max_tokens=8, seed=1, program="usual") as stream:
        assert "".join(piece.text for piece in stream) == expected
    with pytest.raises(GuestCompileError):
        tenant.generate("x", program="broken")
    with pytest.raises(ProgramNotFoundError, match="'a' has no program 'none'"):
        tenant.generate("x", program="none")
    with pytest.raises(ProgramNotFoundError):
        tenant_of(manager, "b").generate("x", program="usual")
    # What a name means changes with the next request, and a name may go.
    manager.set_tenant_policy("a", TenantPolicy(programs={"broken": default_program()}))
    assert tenant.generate("x", max_tokens=8, seed=1, program="broken").text == expected
    with pytest.raises(ProgramNotFoundError):
        tenant.generate("x", program="usual")
    manager.evict_idle(0.0)
    assert tenant.generate("x", max_tokens=8, seed=1, program="broken").text == expected


def test_named_programs_outlive_the_process(tmp_path):
    path = tmp_path / "state.db"
    registry = TenantRegistry(path)
    policies = {
        "one": TenantPolicy(program=b"own", programs={"x": b"shared", "y": b"second"}),
        "two": TenantPolicy(programs={"x": b"shared"}),
        "three": TenantPolicy(programs={"x": b"second"}),
    }
    for name, policy in policies.items():
        registry.put(RegisteredTenant(name, TenantPolicy(programs={"gone": b"gone"}), None, ()))
        registry.put(RegisteredTenant(name, policy, None, ()))
    registry.forget("one")
    registry.close()
    registry = TenantRegistry(path)
    found = {each.tenant_id: each.policy for each in registry.load()}
    assert found == {name: policies[name] for name in ("two", "three")}
    registry.close()


def test_what_a_manager_says_of_itself(model_path, tmp_path):
    with RuntimeManager(CONFIG, **SMALL) as manager:
        model = manager.load_model(ModelConfig(model_path, "tiny"))
        assert manager.models["tiny"] is model
        assert manager.tenant_ids == ()
        manager.check_draft(model_path)
        other = TinyModel(hidden=64).write(tmp_path / "other.gguf")
        manager.check_program(default_program())
        with pytest.raises(GuestCompileError):
            manager.check_program(b"no module")
        runtime = manager.get_or_create_runtime_with_model("a", ModelConfig(model_path, "tiny"))
        runtime.generate("x", max_tokens=4)
        manager.check_draft(other)
        found = []
        answered = threading.Event()
        manager.ask_figures(lambda figures: (found.append(figures), answered.set()))
        assert answered.wait(30)
        (figures,) = found
        assert figures.steps > 0
        assert figures.rows >= figures.steps
        assert 0 < figures.batch_fill <= 1
        assert figures.free_pages == {"tiny": manager.free_page_count("tiny")}
        assert (figures.resident_adapters, figures.adapter_loads, figures.sequences) == (0, 0, 0)
        assert manager.tenant_ids == ("a",)


def test_a_draft_for_nothing(model_path):
    with RuntimeManager(CONFIG, **SMALL) as manager, pytest.raises(DraftMismatchError):
        manager.check_draft(model_path)
