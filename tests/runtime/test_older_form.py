"""Programs that export generate in place of realm_handle."""

from __future__ import annotations

from pathlib import Path

import pytest

from realm.cli.guest_compiler import compile_guest
from realm.config import EngineConfig, ModelConfig
from realm.errors import (
    GuestContractError,
    GuestError,
    GuestLimitError,
    GuestTrapError,
    RequestError,
)
from realm.runtime import GuestLimits, HostLimits, RuntimeManager, TenantPolicy
from tiny_model import TinyModel

SOURCE = Path(__file__).parent / "programs" / "older_form.c"
LIMITS = GuestLimits(memory_bytes=1 << 20, output_bytes=40)


def module(
    body: str,
    *,
    data: str = "",
    signature: str = "(param i32 i32 i32 i32) (result i32)",
    alloc: str = "realm_alloc",
) -> str:
    return f"""(module
      (memory (export "memory") 1)
      (data (i32.const 64) "{data}")
      (func (export "{alloc}") (param i32) (result i32) (i32.const 1024))
      (func (export "generate") {signature} {body}))"""


@pytest.mark.parametrize("wide", [False, True], ids=["wasm32", "wasm64"])
def test_an_older_program_generates_as_the_host_does(tmp_path, wide):
    program = tmp_path / "program.wasm"
    compile_guest([SOURCE], program, wide=wide)
    config = ModelConfig(TinyModel().write(tmp_path / "tiny.gguf"), "tiny")
    options = {"max_tokens": 12, "temperature": 0, "repetition_penalty": 1.5}
    with RuntimeManager(
        EngineConfig(threads=2, cache_bytes=64 << 20),
        limits=GuestLimits(memory_bytes=1 << 20),
        host_limits=HostLimits(guest_count=4, memory_bytes=1 << 20),
    ) as manager:
        expected = manager.get_or_create_runtime_with_model("a", config).generate(
            "A prompt", direct=True, **options
        )
        manager.set_tenant_policy("b", TenantPolicy(program=program.read_bytes()))
        tenant = manager.get_or_create_runtime_with_model("b", config)
        stream = tenant.stream("A prompt", **options)
        text = "".join(piece.text for piece in stream)
        assert text == stream.result.text == expected.text
        assert stream.result.token_ids == expected.token_ids
        with pytest.raises(RequestError, match="takes text"):
            tenant.generate(token_ids=[1, 2])


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        (module("(i32.const 0)"), GuestTrapError, "no text"),
        (module("(i32.const 65536)"), GuestContractError, "outside the memory"),
        (module("(i32.const -1)"), GuestContractError, "outside the memory"),
        (module("(i32.const 64)", data="x" * 41), GuestLimitError, "output bytes"),
        (module("(i32.const 64)", data="\\ff"), GuestError, "not UTF-8"),
        (
            module("(i32.store8 (i32.const 65535) (i32.const 65)) (i32.const 65535)"),
            GuestContractError,
            "without an end",
        ),
        (module("unreachable"), GuestTrapError, "unreachable"),
    ],
)
def test_a_text_that_is_none_is_a_typed_error(open_stage, compile_wat, source, kind, words):
    tenant = open_stage().tenant(compile_wat(source), LIMITS)
    with pytest.raises(kind, match=words):
        tenant.generate("x")


def test_an_older_program_that_answers_by_itself(open_stage, compile_wat):
    source = module("(i32.const 64)", data="x" * 40)
    assert open_stage().tenant(compile_wat(source), LIMITS).generate("y").text == "x" * 40


@pytest.mark.parametrize(
    "source",
    [
        module("(i32.const 0)", signature="(param i32 i32) (result i32)"),
        module("(i64.const 0)", signature="(param i32 i32 i32 i32) (result i64)"),
        module("(i32.const 0)", alloc="malloc"),
    ],
)
def test_an_older_program_of_another_shape_is_refused(compile_wat, source):
    with pytest.raises(GuestContractError, match=r"export (generate|realm_alloc): m"):
        compile_wat(source)
