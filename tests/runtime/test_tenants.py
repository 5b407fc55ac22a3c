"""Policies, figures and the state of tenants, on a real engine with small random weights."""

from __future__ import annotations

import gc
import sys
import threading

import pytest

from realm.errors import (
    CapacityError,
    ConfigError,
    GuestCompileError,
    GuestError,
    GuestLimitError,
    GuestTrapError,
    ToolError,
)
from realm.runtime import (
    GuestLimits,
    TenantLimits,
    TenantPolicy,
    Tool,
)
from tiny_model import TinyModel

from .wat import guest

KEEP = '(data (i32.const 0) "key") (data (i32.const 16) "value") (data (i32.const 32) "name")'


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    return TinyModel().write(tmp_path_factory.mktemp("tenants") / "tiny.gguf")


def test_each_tenant_runs_its_own_program(open_manager, tenant_of, assemble):
    manager = open_manager()
    answer = guest('(call $realm_stream_token (i32.const 0) (i32.const 3))',
                   imports=("realm_stream_token",), extra=KEEP)  # fmt: skip
    tenant = tenant_of(manager, "a", program=assemble(answer))
    other = tenant_of(manager, "b")
    assert tenant.generate("x").text == "key"
    assert len(other.generate("x", max_tokens=4, ignore_eos=True).token_ids) == 4
    with pytest.raises(GuestCompileError):
        manager.set_tenant_policy("a", TenantPolicy(program=b"no module"))
    assert tenant.generate("x").text == "key", "a refused policy changes nothing"
    manager.set_tenant_policy("a", TenantPolicy())
    assert len(tenant.generate("x", max_tokens=4, ignore_eos=True).token_ids) == 4


def test_limits_are_the_tenants_own(open_manager, tenant_of):
    manager = open_manager()
    small = tenant_of(manager, "a", guest_limits=GuestLimits(memory_bytes=4 << 20, tokens=8))
    with pytest.raises(GuestLimitError, match="more than 8 tokens"):
        small.generate("x", max_tokens=9, ignore_eos=True)
    assert small.limits.tokens == 8
    pages = tenant_of(manager, "b", limits=TenantLimits(cache_bytes=1))
    with pytest.raises((CapacityError, GuestError), match="cache pages"):
        pages.generate("x", max_tokens=2)
    other = tenant_of(manager, "c")
    assert len(other.generate("x", max_tokens=9, ignore_eos=True).token_ids) == 9
    with pytest.raises(ConfigError, match="pool"):
        tenant_of(manager, "a", guest_limits=GuestLimits(memory_bytes=1 << 30))


def test_figures_tell_what_happened(open_manager, tenant_of, assemble):
    manager = open_manager()
    tenant = tenant_of(manager)
    result = tenant.generate("The text", max_tokens=5, ignore_eos=True)
    tenant_of(manager, "b", program=assemble(guest("unreachable")))
    broken = tenant_of(manager, "b")
    for _ in range(2):
        with pytest.raises(GuestTrapError):
            broken.generate("x")
    small = tenant_of(manager, "c", guest_limits=GuestLimits(memory_bytes=4 << 20, tokens=1))
    with pytest.raises(GuestLimitError):
        small.generate("long enough")
    stream = tenant.stream("The text", max_tokens=500, ignore_eos=True)
    next(stream)
    live = manager.metrics()["a"]
    assert (live.live_guests, live.requests) == (1, 1)
    assert live.cache_pages > 0 and live.cache_bytes > live.cache_pages
    stream.close()
    figures = manager.metrics()
    assert set(figures) == {"a", "b", "c"}
    assert (figures["a"].requests, figures["a"].cancelled, figures["a"].failures) == (2, 1, 0)
    assert figures["a"].completion_tokens >= 5 + 1
    assert figures["a"].prompt_tokens == 2 * len(result.prompt_token_ids)
    assert figures["a"].guest_seconds > 0
    assert figures["a"].live_guests == figures["a"].cache_pages == figures["a"].cache_bytes == 0
    assert (figures["b"].requests, figures["b"].failures, figures["b"].traps) == (2, 2, 2)
    assert (figures["c"].failures, figures["c"].limits_reached, figures["c"].traps) == (1, 1, 0)


def test_a_tenant_has_so_many_guests_at_once(open_manager, tenant_of):
    manager = open_manager()
    tenant = tenant_of(manager, limits=TenantLimits(requests=2))
    streams = [tenant.stream("x", max_tokens=900, ignore_eos=True) for _ in range(3)]
    for stream in streams[:2]:
        next(stream)
    figures = manager.metrics()["a"]
    assert (figures.live_guests, figures.queued_requests) == (2, 1)
    other = tenant_of(manager, "b")
    assert len(other.generate("x", max_tokens=3, ignore_eos=True).token_ids) == 3
    streams[0].close()
    next(streams[2])
    for stream in streams[1:]:
        stream.close()
    figures = manager.metrics()["a"]
    assert (figures.live_guests, figures.queued_requests) == (0, 0)


def test_idle_tenants_are_let_go_and_serve_again(open_manager, tenant_of):
    manager = open_manager()
    tenant = tenant_of(manager)
    stream = tenant.stream("x", max_tokens=900, ignore_eos=True)
    next(stream)
    assert manager.evict_idle(0.0) == 0, "it is at work"
    stream.close()
    assert manager.evict_idle(1e6) == 0
    assert manager.evict_idle(0.0) == 1
    assert manager.evict_idle(0.0) == 0
    again = tenant_of(manager)
    assert again is not tenant
    options = {"max_tokens": 5, "temperature": 0}
    assert again.generate("x", **options).text == tenant.generate("x", **options).text
    assert manager.metrics()["a"].requests == 3


def test_an_evicted_tenants_prefix_pages_are_free(open_manager, tenant_of):
    manager = open_manager()
    tenant = tenant_of(manager)
    tenant.generate("x", max_tokens=1)
    free = manager.free_page_count("tiny")
    tenant.generate("a text of several pages " * 8, max_tokens=1)
    assert manager.evict_idle(0.0) == 1
    tenant_of(manager, "b").generate("x", max_tokens=1)
    assert manager.free_page_count("tiny") >= free


def keeper(body: str) -> str:
    imports = ("realm_state_put", "realm_state_get", "realm_stream_token")
    return guest(body, imports=imports, extra=KEEP)


PUT = """(call $realm_state_put (i32.const 0) (i32.const 3) (i32.const 16) (i32.const 5))"""
GET = """(local.set $i
    (call $realm_state_get (i32.const 0) (i32.const 3) (i32.const 64) (i32.const 64)))
  (if (i32.lt_s (local.get $i) (i32.const 0)) (then (return (local.get $i))))
  (call $realm_stream_token (i32.const 64) (local.get $i))"""


def test_state_outlives_the_runtime_and_is_the_tenants_own(
    open_manager, tenant_of, assemble, tmp_path
):
    path = tmp_path / "state"
    manager = open_manager(state_path=path)
    tenant_of(manager, program=assemble(keeper(PUT))).generate("x")
    manager.close()
    manager = open_manager(state_path=path)
    get = assemble(keeper(GET))
    assert tenant_of(manager, program=get).generate("x").text == "value"
    with pytest.raises(GuestError, match="REALM_E_NOT_FOUND"):
        tenant_of(manager, "b", program=get).generate("x")
    with pytest.raises(GuestError, match="REALM_E_NOT_FOUND"):
        tenant_of(open_manager(), program=get).generate("x")


CALL = """(local.set $i (call $realm_tool_call (i32.const 32) (i32.const 4)
    (i32.const 0) (i32.const 3) (i32.const 64) (i32.const 64)))
  (if (i32.lt_s (local.get $i) (i32.const 0)) (then (return (local.get $i))))
  (call $realm_stream_token (i32.const 64) (local.get $i))"""


@pytest.fixture(scope="module")
def caller(assemble):
    return assemble(guest(CALL, imports=("realm_tool_call", "realm_stream_token"), extra=KEEP))


def test_a_tool_runs_while_others_decode(open_manager, tenant_of, caller):
    manager = open_manager()
    entered, gate = threading.Event(), threading.Event()

    def wait(arguments: bytes) -> bytes:
        entered.set()
        assert gate.wait(60)
        return arguments + b"!"

    calling = tenant_of(manager, program=caller, tools={"name": Tool(wait)}).stream("x")
    assert entered.wait(60)
    other = tenant_of(manager, "b")
    assert len(other.generate("x", max_tokens=9, ignore_eos=True).token_ids) == 9
    gate.set()
    assert "".join(piece.text for piece in calling) == "key!"


def test_a_tools_words_reach_its_own_program_alone(open_manager, tenant_of, caller, caplog):
    manager = open_manager()

    def refuse(_: bytes) -> bytes:
        raise ToolError("only a may read this")

    def break_down(_: bytes) -> bytes:
        raise ValueError("nobody may read this")

    told = tenant_of(manager, "a", program=caller, tools={"name": Tool(refuse)})
    with pytest.raises(ToolError, match="only a may read this"):
        told.generate("x")
    for broken in (break_down, lambda _: sys.exit("nobody may read this")):
        untold = tenant_of(manager, "b", program=caller, tools={"name": Tool(broken)})
        with pytest.raises(ToolError, match=r"^tool 'name' failed$"):
            untold.generate("x")
    with pytest.raises(GuestError, match="REALM_E_NOT_FOUND"):
        tenant_of(manager, "c", program=caller).generate("x")


def test_wall_time_holds_inside_a_host_call_and_the_tools_time_before_it(
    open_manager, tenant_of, caller
):
    manager = open_manager()
    gate = threading.Event()
    tools = {"name": Tool(lambda _: gate.wait(60) and b"late")}
    limits = GuestLimits(memory_bytes=4 << 20, wall_seconds=0.05)
    stuck = tenant_of(manager, "a", program=caller, tools=tools, guest_limits=limits)
    with pytest.raises(GuestLimitError, match="wall time"):
        stuck.generate("x")
    quick = {"name": Tool(lambda _: gate.wait(60) and b"late", seconds=0.05)}
    with pytest.raises(GuestError, match="REALM_E_TIME"):
        tenant_of(manager, "b", program=caller, tools=quick).generate("x")
    gate.set()
    assert tenant_of(manager, "c", program=caller, tools=tools).generate("x").text == "late"
    assert manager.metrics()["a"].live_guests == 0


STORE = """(local.set $i (call $realm_tool_call (i32.const 32) (i32.const 4)
    (i32.const 0) (i32.const 3) (i32.const 65536) (i32.const 2000000)))
  (if (i32.lt_s (local.get $i) (i32.const 0)) (then (return (local.get $i))))
  (local.set $i (call $realm_store_model (i32.const 65536) (local.get $i) (i32.const 0)))
  (if (i32.lt_s (local.get $i) (i32.const 0)) (then (return (local.get $i))))
  (local.set $i (call $realm_session_open (local.get $i)))
  (if (i32.lt_s (local.get $i) (i32.const 0)) (then (return (local.get $i))))
  (if (i32.lt_s (call $realm_session_prefill (local.get $i) (i32.const 128) (i32.const 2))
    (i32.const 0)) (then (return (i32.const -15))))
  (call $realm_session_sample (local.get $i) (i32.const 0) (i32.const 64) (i32.const 1))"""


def test_models_of_guests_are_shared_and_go_with_the_last_one(
    open_manager, tenant_of, assemble, tmp_path
):
    own = TinyModel(block_type="Q8_0").write(tmp_path / "own.gguf")
    wanted = ("realm_tool_call", "realm_store_model", "realm_session_open",
              "realm_session_prefill", "realm_session_sample")  # fmt: skip
    program = assemble(guest(STORE, imports=wanted, extra=KEEP,
                             memory='(memory (export "memory") 40)'))  # fmt: skip
    manager = open_manager()
    storage = manager._storage
    tools = {"name": Tool(lambda _: own.read_bytes(), result_bytes=2_000_000)}
    size = own.stat().st_size
    tenant = tenant_of(manager, "a", program=program, tools=tools)
    known = set(storage._by_hash)
    for _ in range(3):
        tenant.generate("x")
    gone = threading.Event()
    manager._parts.workers.submit("a", lambda: None, gone.set)
    assert gone.wait(60)
    assert set(storage._by_hash) == known, "released in the line that the event came after"
    settled = threading.Event()
    manager._parts.loop.call(settled.set)
    assert settled.wait(60)
    assert set(manager._engine._states) <= known
    limited = tenant_of(manager, "b", program=program, tools=tools,
                        limits=TenantLimits(model_bytes=size - 1))  # fmt: skip
    with pytest.raises(GuestLimitError, match="stored models"):
        limited.generate("x")
    stored = storage.load(own)
    tenant.generate("x")
    gc.collect()
    assert storage.load(own) is stored, "the operator's own stays"
    assert manager.metrics()["a"].model_bytes == 0
