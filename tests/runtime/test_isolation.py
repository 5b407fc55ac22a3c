"""One tenant tries to reach what is another's: models, sessions, memory, state, pages, tools."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from attacks.programs.ground import GROUND_HOST_LIMITS, Ground
from attacks.programs.modules import (
    IDS_AT,
    NAME_AT,
    PREFILLED,
    REQUEST_AT,
    ROOM_AT,
    call,
    program,
    require,
    text_at,
    until_refused,
)

from realm.errors import (
    AdapterError,
    AdapterNotFoundError,
    AdapterOpenError,
    GuestError,
    GuestTrapError,
)
from realm.kernels import PAGE_TOKENS
from realm.lora import LoRAManager
from realm.model import ModelStorage
from realm.runtime import TenantRuntime
from realm.runtime.hosted_model import HostedModel
from realm.runtime.policy import TenantPolicy, Tool
from tiny_adapter import write_adapter
from tiny_model import TinyModel

SECRET = "the secret of tenant a"
LONG_PROMPT = "A prompt of several pages, so that some of them are kept for the next time. " * 4


@pytest.fixture(scope="module")
def model_path(tmp_path_factory) -> Path:
    return TinyModel().write(tmp_path_factory.mktemp("isolation") / "tiny.gguf")


@pytest.fixture(scope="module")
def ground(model_path) -> Iterator[Ground]:
    with Ground(model_path) as opened:
        yield opened


def run(ground: Ground, tenant_id: str, handle: str, **options) -> str:
    """What the program of this handler streams."""
    return open_tenant(ground, tenant_id, handle, **options).generate("x", seed=1).text


def open_tenant(ground: Ground, tenant_id: str, handle: str, **options) -> TenantRuntime:
    return ground.tenant(tenant_id, ground.compile(program(handle)), **options)


def stream_bytes(pointer: int, length: str) -> str:
    return call("realm_stream_token", pointer, length)


# ---- Models ----


def test_another_tenants_model_is_not_found_and_not_told_from_none(ground):
    theirs = HostedModel("theirs", ground.model, 0.0)
    load = call("realm_host_load_model_by_name", 0, 6)
    a = open_tenant(ground, "a", f"{text_at(0, 'theirs')} {load}", models={"theirs": theirs})
    assert a.generate("x").finish_reason == "stop"
    texts = []
    for name in ("theirs", "no-one"):
        b = open_tenant(ground, "b", f"{text_at(0, name)} {load}")
        with pytest.raises(GuestError, match="REALM_E_NOT_FOUND") as caught:
            b.generate("x")
        texts.append(str(caught.value).replace(name, "*"))
    assert texts[0] == texts[1]


def test_paths_are_names_like_any_other(ground, model_path):
    path = str(model_path)
    body = f"{text_at(0, path)} {call('realm_host_load_model_by_name', 0, len(path))}"
    with pytest.raises(GuestError, match="REALM_E_NOT_FOUND"):
        open_tenant(ground, "b", body).generate("x")


def test_weights_are_not_read_without_the_right(ground):
    name = "output_norm.weight"
    read = call("realm_get_tensor", 1, 0, len(name), ROOM_AT, 4096)
    body = f"{PREFILLED} {text_at(0, name)} {read}"
    granted = TenantPolicy(reads_tensors=True)
    assert open_tenant(ground, "a", body, policy=granted).generate("x").finish_reason == "stop"
    with pytest.raises(GuestError, match="REALM_E_"):
        open_tenant(ground, "b", body).generate("x")


# ---- Sessions ----


def test_handles_of_other_guests_are_no_handles(ground):
    """One tenant keeps sessions open in the middle of its request; another tries every number."""
    flood = until_refused(stream_bytes(0, "(i32.const 1)"))
    keeps = f"{PREFILLED} (drop {call('realm_session_fork', 1)}) {flood}"
    stream = open_tenant(ground, "a", keeps).stream("x", max_tokens=9)
    next(stream)
    assert ground.engine.sequence_count == 2
    tries = f"""
      (local.set $i (i32.const -300))
      (loop $next
        (if (i32.ne {call("realm_session_position", "(local.get $i)")} (i32.const -4))
          (then unreachable))
        (if (i32.ne {call("realm_remove_model", "(local.get $i)")} (i32.const -4))
          (then unreachable))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $next (i32.lt_s (local.get $i) (i32.const 3000))))
      (i32.const 0)"""
    assert open_tenant(ground, "b", tries).generate("x").finish_reason == "stop"
    with pytest.raises(GuestTrapError):
        open_tenant(ground, "b", PREFILLED + tries).generate("x")
    stream.close()
    assert ground.engine.sequence_count == 0


# ---- Adapters ----


def refusal_of(ground: Ground, tenant_id: str, name: str) -> str:
    """What a program of the tenant is told that sets this adapter, behind the error's class."""
    at = REQUEST_AT
    body = f"{PREFILLED} {text_at(at, name)} {call('realm_set_lora_adapter', 1, at, len(name))}"
    with pytest.raises(AdapterError) as caught:
        open_tenant(ground, tenant_id, body).generate("x")
    return f"{type(caught.value).__name__}: {caught.value}"


@pytest.fixture(scope="module")
def adapter_path(tmp_path_factory) -> Path:
    return write_adapter(tmp_path_factory.mktemp("secret") / "folder-of-a", seed=1)


def test_another_tenants_adapter_is_not_found_and_not_told_from_none(ground, adapter_path):
    """Neither by its owner's name for it, nor by its path or digest; whether it is used or not."""
    digest = ground.lora.load("voice", adapter_path, "a").digest
    a = ground.tenant("a")
    plain, adapted = (a.generate("x", seed=1, adapters=each).token_ids for each in ((), "voice"))
    assert plain != adapted
    for name in ("voice", "a/voice", "a\0voice", str(adapter_path), digest):
        stream = a.stream("x", max_tokens=300, adapters="voice", ignore_eos=True)
        next(stream)
        for tenant_id in ("b", "A", "a ", "a\0", "None"):
            expected = refusal_of(ground, tenant_id, "no-one").replace("no-one", "*")
            told = f"no adapter {name!r}"
            assert refusal_of(ground, tenant_id, name) == f"AdapterNotFoundError: {told}"
            assert f"AdapterNotFoundError: {told}".replace(repr(name), "'*'") == expected
            with pytest.raises(AdapterNotFoundError, match=re.escape(told)):
                ground.tenant(tenant_id).generate("x", adapters=name)
        stream.close()
    (status,) = ground.lora.versions("voice", "a")
    assert (status.user_count, status.waiting_count) == (0, 0)


def test_one_name_is_each_tenants_own_adapter(ground, tmp_path):
    """Also when everyone has one of the name, and when the others' go."""
    for seed, tenant_id in enumerate((None, "a", "b"), 20):
        ground.lora.load("same", write_adapter(tmp_path / str(seed), seed), tenant_id)

    def answers() -> list[tuple[int, ...]]:
        names = ("a", "b", "c")
        return [ground.tenant(n).generate("x", seed=1, adapters="same").token_ids for n in names]

    first = answers()
    assert len(set(first)) == 3
    ground.lora.unload("same", "a")
    assert answers() == [first[2], first[1], first[2]]
    ground.lora.unload("same")
    assert "'same'" in refusal_of(ground, "a", "same")
    assert ground.tenant("b").generate("x", seed=1, adapters="same").token_ids == first[1]


def test_a_model_that_a_guest_brings_takes_no_adapters(ground, adapter_path, tmp_path):
    ground.lora.load("voice", adapter_path, "a")
    gguf = TinyModel(hidden=64).write(tmp_path / "guests.gguf").read_bytes()
    policy = TenantPolicy(tools={"gguf": Tool(lambda _: gguf)})
    body = f"""{text_at(REQUEST_AT, "ggufvoice")}
      (drop {call("realm_tool_call", REQUEST_AT, 4, 0, 0, ROOM_AT, 3 << 20)})
      (local.set $i {call("realm_store_model", ROOM_AT, len(gguf), 0)})
      {require(1, "(local.get $i)")}
      {call("realm_set_lora_adapter", 1, REQUEST_AT + 4, 5)}"""
    source = program(body, memory='(memory (export "memory") 64)')
    with pytest.raises(
        GuestError, match=r"REALM_E_ADAPTER\): adapters are for models that the host"
    ):
        ground.tenant("a", ground.compile(source), policy).generate("x")


def test_what_is_wrong_with_an_adapter_is_told_without_its_path(ground, adapter_path, tmp_path):
    """To each who asks in an error of its own."""
    folder = write_adapter(tmp_path / "folder-of-the-operator", seed=2)
    path = TinyModel(hidden=64).write(tmp_path / "other.gguf")
    with LoRAManager(1 << 20) as lora:
        lora.load("broken", folder)
        ModelStorage(1, adapters=lora).load(path)
        ModelStorage(1, adapters=lora).load(ground.model.path)
        (folder / "adapter_model.safetensors").write_bytes(b"cut")
        uses = [lora.request("broken", ground.model.content_hash, each) for each in ("a", "b")]
        errors = [use.ready.exception(timeout=30) for use in uses]
    assert [type(error) for error in errors] == [AdapterOpenError] * 2
    assert errors[0] is not errors[1]
    for error in errors:
        assert str(error).startswith("adapter 'broken': has changed")
        assert "operator" not in str(error)


# ---- Memory ----


@pytest.mark.parametrize("wide", [False, True])
def test_a_guest_finds_nothing_in_memory_tables_and_globals(ground, wide):
    """Every slot of the pool is filled to its edge by one tenant, then searched by another."""
    extra = "(global $g (mut i64) (i64.const 0)) (table $t 8 funcref)"
    grow = "(loop $l (br_if $l (ptr.ne (memory.grow (ptr.const 1)) (ptr.const -1))))"
    fill = f"""{grow}
      (memory.fill (ptr.const 0) (i32.const 165) (ptr.mul (memory.size) (ptr.const 65536)))
      (global.set $g (i64.const -1)) (table.fill $t (i32.const 0) (ref.func $start) (i32.const 8))
      (i32.const 0)"""
    at = "(local.get $at)"
    search = f"""{grow}
      (if (i64.ne (global.get $g) (i64.const 0)) (then unreachable))
      (if (i32.eqz (ref.is_null (table.get $t (i32.const 7)))) (then unreachable))
      (local.set $at (ptr.const {ROOM_AT}))
      (loop $next
        (if (i64.ne (i64.load {at}) (i64.const 0)) (then unreachable))
        (local.set $at (ptr.add {at} (ptr.const 8)))
        (br_if $next (ptr.lt_u {at} (ptr.mul (memory.size) (ptr.const 65536)))))
      (i32.const 0)"""
    declared = extra + "(elem declare func $start)"
    filler = ground.compile(program(fill, extra=declared, wide=wide))
    searcher = ground.compile(program(search, extra=declared, wide=wide))
    slots = GROUND_HOST_LIMITS.guest_count
    for _ in range(2):
        for guest_program, tenant_id in ((filler, "a"), (searcher, "b")):
            tenant = ground.tenant(tenant_id, guest_program)
            streams = [tenant.stream("x") for _ in range(slots)]
            assert [list(stream) for stream in streams] == [[]] * slots


def test_a_request_begins_without_an_error_or_answer_of_the_one_before(ground):
    body = f"""
      (local.set $i {call("realm_last_size")})
      (local.set $i (i32.add (local.get $i) {call("realm_last_error", ROOM_AT, 4096)}))
      (if (local.get $i) (then unreachable))
      {call("realm_host_load_model_by_name", 0, 9)}"""
    tenant = open_tenant(ground, "a", body)
    for _ in range(3):
        with pytest.raises(GuestError, match="REALM_E_NOT_FOUND"):
            tenant.generate("x")


# ---- Cache pages ----


def steps_of(ground: Ground, tenant_id: str) -> tuple[int, int, tuple[int, ...]]:
    """Pages reused and steps taken by one answer to the long prompt, and the answer."""
    engine = ground.engine
    before = engine.reused_page_count, engine.step_count
    result = ground.tenant(tenant_id).generate(LONG_PROMPT, max_tokens=4, temperature=0)
    return (
        engine.reused_page_count - before[0],
        engine.step_count - before[1],
        result.token_ids,
    )


def test_a_prefix_is_found_again_by_its_owner_alone(model_path):
    with Ground(model_path) as fresh:
        cold = steps_of(fresh, "a")
        warm = steps_of(fresh, "a")
        assert warm[0] >= len(LONG_PROMPT) // PAGE_TOKENS - 2
        for tenant_id in ("b", "A", "a ", "a\0", "ab"):
            assert steps_of(fresh, tenant_id) == cold, (
                "work and answer as if nobody had asked before"
            )
        assert cold[0] == 0
        assert cold[2] == warm[2]


def test_a_programs_own_sessions_find_no_page_of_another_tenant(ground):
    def body(first: int) -> str:
        ids = "".join(
            f"(i32.store (i32.const {4 * n}) (i32.const {(first + n) % 256}))" for n in range(64)
        )
        sample = f"(drop {call('realm_session_sample', 1, 0, ROOM_AT, 1)})"
        prefill = f"(drop {call('realm_session_prefill', 1, 0, 64)})"
        return f"{PREFILLED} {ids} {prefill} {sample} (i32.const 0)"

    reused = ground.engine.reused_page_count
    for tenant_id in ("a", "b", "c"):
        open_tenant(ground, tenant_id, body(3)).generate("x", seed=1)
    assert ground.engine.reused_page_count == reused
    open_tenant(ground, "b", body(3)).generate("x", seed=1)
    assert ground.engine.reused_page_count > reused


def layer_bits(position: int) -> str:
    """One layer on a row at a position whose predecessors nobody wrote; what it gives, as text."""
    embed = call("realm_embed_tokens", 1, IDS_AT, 1, ROOM_AT)
    first = call("realm_forward_layer", 1, 0, ROOM_AT, "(local.get $i)", 0, ROOM_AT + 8192)
    gap = call("realm_forward_layer", 1, 1, ROOM_AT, "(local.get $i)", position, ROOM_AT + 16384)
    return f"""{PREFILLED} (local.set $i {embed}) (drop {first})
      (if (i32.lt_s {gap} (i32.const 0)) (then (return (i32.const 0))))
      (local.set $i (i32.const 0))
      (loop $hex
        (i32.store8 (i32.add (i32.const {REQUEST_AT}) (local.get $i))
          (i32.add (i32.const 65)
            (i32.and (i32.const 15) (i32.load8_u offset={ROOM_AT + 16384} (local.get $i)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $hex (i32.lt_s (local.get $i) (i32.const 384))))
      {stream_bytes(REQUEST_AT, "(i32.const 384)")}"""


def test_pages_that_were_another_tenants_are_read_by_no_layer(model_path):
    """Behind a gap a layer would see what stood there before: it is refused, whatever stood there.

    Without a gap a page used before is as good as a fresh one.
    """
    places = (0, 1, 3, PAGE_TOKENS - 1)
    with Ground(model_path, cache_bytes=1 << 20) as fresh:
        cold = [run(fresh, "b", layer_bits(position)) for position in places]
        fresh_pages = fresh.engine.free_page_count(fresh.model)
        for number in range(4):
            fresh.honest(f"a-{number}", f"{SECRET} {LONG_PROMPT}", 8)
        fresh.engine.forget_texts()
        warm = [run(fresh, "b", layer_bits(position)) for position in places]
        assert fresh.engine.free_page_count(fresh.model) == fresh_pages
    assert warm == cold
    assert [len(bits) for bits in cold] == [384, 0, 0, 0]


# ---- State, tools, streams ----


def test_a_tenants_state_is_its_own(ground):
    put = f"{text_at(64, SECRET)} {call('realm_state_put', NAME_AT, 4, 64, len(SECRET))}"
    get = f"""(local.set $i {call("realm_state_get", NAME_AT, 4, ROOM_AT, 4096)})
      (if (i32.lt_s (local.get $i) (i32.const 0)) (then (return (local.get $i))))
      {stream_bytes(ROOM_AT, "(local.get $i)")}"""
    run(ground, "a", put)
    assert run(ground, "a", get) == SECRET
    for tenant_id in ("b", "A", "a ", "a\0"):
        with pytest.raises(GuestError, match="REALM_E_NOT_FOUND"):
            run(ground, tenant_id, get)
    run(ground, "b", put.replace(str(SECRET.encode()[0]), "33", 1))
    assert run(ground, "a", get) == SECRET


def test_a_tool_is_called_by_those_who_have_it(ground):
    asked: list[bytes] = []

    def look(arguments: bytes) -> bytes:
        asked.append(arguments)
        return SECRET.encode()

    body = f"""{text_at(0, "look")}
      (local.set $i {call("realm_tool_call", 0, 4, NAME_AT, 4, ROOM_AT, 4096)})
      (if (i32.lt_s (local.get $i) (i32.const 0)) (then (return (local.get $i))))
      {stream_bytes(ROOM_AT, "(local.get $i)")}"""
    policy = TenantPolicy(tools={"look": Tool(look)})
    assert run(ground, "a", body, policy=policy) == SECRET
    with pytest.raises(GuestError, match="REALM_E_NOT_FOUND"):
        run(ground, "b", body)
    assert asked == [b"tiny"]


def test_random_bytes_of_two_requests_differ(ground):
    body = f"(drop {call('realm_random', 0, 32)})" + "".join(
        f"(i32.store8 (i32.const {at}) (i32.add (i32.const 65)"
        f" (i32.and (i32.const 15) (i32.load8_u (i32.const {at})))))"
        for at in range(32)
    )
    tenant_a, tenant_b = (
        open_tenant(ground, name, f"{body} {stream_bytes(0, '(i32.const 32)')}") for name in "ab"
    )
    texts = [tenant.generate("x").text for tenant in (tenant_a, tenant_b, tenant_a)]
    assert len(set(texts)) == 3
