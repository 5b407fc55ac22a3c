"""The SDK and the example in AssemblyScript. Its compiler is no Python package: the example's text
form is committed, assembled here, and run."""

from __future__ import annotations

import re
from pathlib import Path

from realm.config import EngineConfig, ModelConfig
from realm.runtime import RuntimeManager
from realm.runtime.contract import ABI_VERSION, HOST_FUNCTIONS, ErrorCode
from realm.runtime.policy import TenantPolicy

FOLDER = Path(__file__).parents[2] / "guests" / "assemblyscript"
QUESTION = {"role": "user", "content": 'Say "hi" in three\nlanguages: é ü \U0001f600.'}
SETTINGS = {"temperature": 0, "max_tokens": 60}


def test_the_declarations_are_the_contract():
    text = (FOLDER / "realm.ts").read_text(encoding="utf-8")
    declared = re.findall(
        r'@external\("env", "(\w+)"\)\s+export declare function (\w+)\(([^)]*)\): i32;', text
    )
    found = {}
    for outside, inside, parameters in declared:
        assert outside == inside
        pairs = [word.split(":") for word in parameters.split(",") if word.strip()]
        found[outside] = [(name.strip(), kind.strip()) for name, kind in pairs]
    kinds = {"pointer": "usize", "length": "usize", "i32": "i32", "u32": "u32"}
    assert found == {
        function.name: [(p.name, kinds[p.kind]) for p in function.parameters]
        for function in HOST_FUNCTIONS
    }
    codes = dict(re.findall(r"^  ([A-Z0-9_]+) = (\d+),$", text, re.MULTILINE))
    assert codes == {code.name: str(int(code)) for code in ErrorCode}
    assert f"realm_abi_version(): i32 {{\n  return {ABI_VERSION};" in text


def test_the_example_answers_with_one_sentence(host, smollm2_path):
    program = host.native.wat_to_wasm((FOLDER / "first_sentence.wat").read_text(encoding="utf-8"))
    requests = [{"messages": [QUESTION]}, {"prompt": "Bears eat fish. They"}]
    with RuntimeManager(EngineConfig(threads=2, cache_bytes=64 << 20)) as manager:
        manager.set_tenant_policy("short", TenantPolicy(program=program))
        whole, texts = (
            [tenant.generate(**request, **SETTINGS).text for request in requests]
            for tenant in (
                manager.get_or_create_runtime_with_model(name, ModelConfig(smollm2_path, "smol"))
                for name in ("long", "short")
            )
        )
    # A character that the tokens left unfinished is left out, not replaced.
    assert texts == [re.match("[^.!?\ufffd]*[.!?]?", text).group() for text in whole]
    assert len(texts[1]) < len(whole[1])
