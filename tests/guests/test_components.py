"""Components: the world, every function of it, and requests side by side."""

from __future__ import annotations

import json
import re
import struct
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from realm.errors import GuestContractError, GuestLimitError, ToolError
from realm.runtime.component_contract import (
    COMPONENT_FUNCTIONS,
    HANDLE_NAME,
    HANDLE_TYPE,
    HOST_INSTANCE,
    component_problems,
)
from realm.runtime.contract import HOST_FUNCTIONS, ErrorCode
from realm.runtime.module_cache import ModuleCache
from realm.runtime.module_compiler import ModuleCompiler
from realm.runtime.policy import Tool
from realm.runtime.program import GuestHost

from .component_stage import LIMITS, ComponentStage
from .components import component, read_results, script

WORLD = Path(__file__).parents[2] / "guests" / "python" / "realm.wit"
# What the world leaves out: tensors, and what other functions of it give already.
LEFT_OUT = {
    "realm_store_model",
    "realm_store_draft_model",
    "realm_get_model_info",
    "realm_get_tensor",
    "realm_encode_tokens",
    "realm_embed_tokens",
    "realm_forward_layer",
    "realm_compute_logits",
    "realm_session_logits",
    "realm_last_size",
}


@pytest.fixture
def stage() -> Iterator[ComponentStage]:
    stage = ComponentStage(b"abcdef")
    yield stage
    stage.close()
    assert stage.alive == 0


def ids(*tokens: int) -> bytes:
    return array("I", tokens).tobytes()


def test_the_text_of_the_world_is_the_table():
    text = re.sub(r"//.*", "", WORLD.read_text(encoding="utf-8"))
    package = re.search(r"package ([\w:]+)@([\d.]+);", text)
    assert f"{package[1]}/host@{package[2]}" == HOST_INSTANCE
    declared = re.findall(r"^  ([\w-]+): func\(([^)]*)\) -> ([^;]+);", text, re.MULTILINE)
    found = {}
    for name, parameters, result in declared:
        kinds = [part.split(":")[1].strip() for part in parameters.split(",") if part.strip()]
        found[name] = f"func({', '.join(kinds)}) -> {result}"
    assert found == {function.name: function.type for function in COMPONENT_FUNCTIONS}
    assert f"export {HANDLE_NAME}: func(request: string) -> s32;" in text
    assert HANDLE_TYPE == "func(string) -> s32"


def test_every_host_function_is_in_the_world_or_left_out_on_purpose():
    places = [function.host for function in COMPONENT_FUNCTIONS if function.host is not None]
    assert len(set(places)) == len(places)
    named = {HOST_FUNCTIONS[place].name for place in places}
    assert named == {function.name for function in HOST_FUNCTIONS} - LEFT_OUT


def test_each_function_gives_as_many_arguments_as_its_host_function_takes():
    widths = {"text": 2, "bytes": 2, "ids": 2, "room": 0}
    for function in COMPONENT_FUNCTIONS:
        if function.host is not None:
            given = sum(widths.get(kind, 1) for kind in function.parameters)
            given += 0 if function.result == "s32" else 2
            assert given == len(HOST_FUNCTIONS[function.host].parameters), function.name


def test_components_are_off_unless_the_operator_says_otherwise(stage):
    wasm = stage.assemble(component())
    host = GuestHost(replace(LIMITS, components=0))
    with pytest.raises(
        GuestLimitError, match=r"components are not offered: HostLimits\.components"
    ):
        host.compile(wasm)


def test_every_function_through_a_component(stage):
    prompt, policy = b"hello", struct.pack("<ffIffff4xQ", 0.0, 1.0, 0, 0.0, 1.0, 0.0, 0.0, 7)
    mask = array("I", [0] * 3 + [1 << (ord("b") - 96)] + [0] * 6).tobytes()
    calls = [
        ("load-model", ["fake"]),
        ("load-model", ["another"]),
        ("last-code", []),
        ("last-error", []),
        ("metadata", [1]),
        ("encode", [1, "hi", 1]),
        ("decode", [1, ids(*b"ho")]),
        ("render-chat", [1, '[{"role":"user","content":"hi"}]']),
        ("render-chat", [1, "{"]),
        ("open-session", [1]),
        ("prefill", [1, ids(*prompt)]),
        ("sample", [1, b""]),
        ("mask", [1, mask]),
        ("sample", [1, policy]),
        ("accept", [1, ids(65)]),
        ("fork", [1]),
        ("position", [2]),
        ("rewind", [2, 3]),
        ("position", [2]),
        ("close-session", [2]),
        ("position", [2]),
        ("constrain", [1, 0, ""]),
        ("constrain", [1, 9, "x"]),
        ("state-put", [b"key", b"\0\xff"]),
        ("state-get", [b"key"]),
        ("state-get", [b"none"]),
        ("tool-call", ["double", b"21"]),
        ("tool-call", ["broken", b""]),
        ("last-code", []),
        ("log", [2, "a line"]),
        ("now-ms", []),
        ("random", [6]),
        ("random", [1 << 20]),
        ("set-adapter", [1, ""]),
        ("send", ["text"]),
        ("generate", [1, "hello", b""]),
        ("remove-model", [1]),
        ("remove-model", [1]),
    ]

    def broken(_: bytes) -> bytes:
        raise ToolError("no")

    tools = {"double": Tool(lambda data: data + data), "broken": Tool(broken)}
    result = stage.make(script(calls), {"tools": tools}).generate("hello", seed=3)
    found = read_results(calls, result.response)
    assert json.loads(found.pop(4))["end_of_generation_ids"] == [299]
    messages = b"<bos>user: hi"
    again = stage.make(script([("random", [6])])).generate("x", seed=3).response
    assert found[:9] == [
        1,
        -ErrorCode.NOT_FOUND,
        ErrorCode.NOT_FOUND,
        b"no model 'another' is offered to this tenant",
        ids(256, *b"hi"),
        b"ho",
        messages,
        None,
        1,
    ]
    assert found[9:22] == [
        len(prompt),
        ids(ord("a")),
        0,
        ids(ord("b")),
        1,
        2,
        len(prompt) + 3,
        0,
        3,
        0,
        -ErrorCode.HANDLE,
        0,
        -ErrorCode.INVALID,
    ]
    assert found[22:29] == [2, b"\0\xff", None, b"2121", None, ErrorCode.TOOL, 0]
    assert found[29] >= 0
    assert found[30] == again[5:]
    assert found[31:34] == [None, 0, 0]
    assert found[34] == b"cdef"
    assert found[35:] == [0, -ErrorCode.HANDLE]
    assert result.text == "text"
    sampled = stage.engine.sampled
    assert (sampled[1].temperature, sampled[1].seed) == (0.0, 7)
    assert sampled[0] == replace(sampled[1], temperature=sampled[0].temperature, top_p=0.9, seed=3)


def test_the_first_sessions_tokens_are_the_results(stage):
    calls = [
        ("load-model", ["fake"]),
        ("open-session", [1]),
        ("prefill", [1, ids(1, 2, 3)]),
        ("sample", [1, b""]),
        ("sample", [1, b""]),
    ]
    result = stage.run(script(calls))
    assert result.prompt_token_ids == (1, 2, 3)
    assert result.token_ids == (ord("a"), ord("b"))


def test_an_error_that_the_program_returns_is_the_requests(stage):
    with pytest.raises(GuestLimitError, match=r"returned -10 \(REALM_E_LIMIT\)"):
        stage.run(component("(i32.const -10)"))


def test_ten_at_once_on_two_threads_answer_as_each_alone(stage):
    echo = component("(call $send (local.get 0) (local.get 1))", imports=("send",))
    tenant = stage.make(echo)
    prompts = [f"prompt {number}" for number in range(40)]
    with ThreadPoolExecutor(10) as pool:
        texts = [result.text for result in pool.map(tenant.generate, prompts)]
    assert [json.loads(text)["prompt"] for text in texts] == prompts


def test_a_component_is_compiled_once_and_read_from_the_cache_then(tmp_path, monkeypatch):
    wasm = ComponentStage().assemble(component())
    compiled = []
    compile_one = ModuleCompiler.compile
    monkeypatch.setattr(
        ModuleCompiler,
        "compile",
        lambda self, wasm: compiled.append(wasm) or compile_one(self, wasm),
    )
    cache = ModuleCache(tmp_path / "modules")
    program = GuestHost(LIMITS, cache=cache).compile(wasm)
    host = GuestHost(LIMITS, cache=cache)
    second = host.compile(wasm)
    assert second is not program
    assert host.compile(bytes(bytearray(wasm))) is second
    assert compiled == [wasm]
    (entry,) = tmp_path.glob("modules/*.module")
    entry.write_bytes(entry.read_bytes()[:-1] + b"\1")
    GuestHost(LIMITS, cache=cache).compile(wasm)
    assert compiled == [wasm, wasm]


def test_everything_that_does_not_fit_is_named():
    imports = [
        (HOST_INSTANCE, "", "instance"),
        (HOST_INSTANCE, "send", "func(s32) -> s32"),
        (HOST_INSTANCE, "sned", "func(string) -> s32"),
        (HOST_INSTANCE, "thing", "resource"),
        ("wasi:clocks/wall-clock@0.2.0", "now", "func() -> other"),
        ("", "plain", "func() -> s32"),
    ]
    assert list(component_problems(imports, [("", "handle", "func() -> s32")])) == [
        f"import {HOST_INSTANCE}.send: declared as func(s32) -> s32, must be func(string) -> s32",
        f"import {HOST_INSTANCE}.sned: not offered by this version",
        f"import {HOST_INSTANCE}.thing: not offered by this version",
        f"import wasi:clocks/wall-clock@0.2.0: only {HOST_INSTANCE!r} is offered",
        f"import plain: only {HOST_INSTANCE!r} is offered",
        "export handle: must be func(string) -> s32",
    ]
    assert list(component_problems([], [("inner", "handle", HANDLE_TYPE)])) == [
        "export handle: missing"
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (component(export="handles"), "export handle: missing"),
        (component(result="u32"), "export handle: must be func"),
        (
            component(outside='(import "wasi:cli/exit@0.2.0" (instance (export "e" (func))))'),
            "import wasi:cli/exit@0.2.0: only",
        ),
        (
            component(
                outside=f'(import "{HOST_INSTANCE}" (instance (export "send" (func '
                '(param "a" (list string)) (result (option (list (list u8))))))))'
            ),
            r"declared as func\(list<string>\) -> option<list<list<u8>>>|list<other>",
        ),
        (component(outside='(import "now" (func (result u64)))'), "import now: only"),
    ],
)
def test_another_world_is_refused(stage, source, message):
    with pytest.raises(GuestContractError, match=message):
        stage.program(source)
