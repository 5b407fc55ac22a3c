"""Tenants and items that come, change and go while requests run."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from tests.server.engine_process.engines import call, connected, item, served
from tests.tiny_adapter import write_adapter
from tests.tiny_model import TinyModel

from realm import errors
from realm.runtime.program import default_program
from realm.server.definitions import Limits, Model, Tenant

LONG = {"max_tokens": 700, "ignore_eos": True, "temperature": 0.0}
SHORT = {"max_tokens": 24, "ignore_eos": True, "temperature": 0.0}


async def text_of(client, **fields) -> str:
    return (await client.generate(call(**{**SHORT, **fields})).result()).text


def test_a_removed_tenants_requests_end_and_its_name_is_free_again(manager, tiny_path):
    async def run():
        async with served(manager, tiny_path, [Tenant("a"), Tenant("b")]) as client:
            expected = await text_of(client)
            running = client.generate(call(**LONG))
            await anext(running)
            await client.remove_tenant("a")
            with pytest.raises(errors.CancelledError, match="removed"):
                [each async for each in running]
            with pytest.raises(errors.RequestError, match="no tenant"):
                await text_of(client)
            await client.remove_tenant("never seen")
            assert await text_of(client, tenant_id="b") == expected
            await client.put_tenant(Tenant("a"))
            assert await text_of(client) == expected
            assert "a" in (await client.figures()).tenants
            assert (await client.figures(of_tenants=False)).tenants == {}

    asyncio.run(run())


def test_a_tenant_changes_with_its_next_request(manager, tiny_path):
    async def run():
        async with served(manager, tiny_path) as client:
            running = client.generate(call(**LONG))
            await anext(running)
            await client.put_tenant(Tenant("a", limits=Limits(max_tokens=10), weight=3.0))
            with pytest.raises(errors.ConfigError, match="max_tokens is 24"):
                await text_of(client)
            limits = Limits(memory_bytes=1 << 39)
            with pytest.raises(errors.ConfigError, match="memory_bytes"):
                await client.put_tenant(Tenant("a", limits=limits))
            with pytest.raises(errors.ConfigError, match="max_tokens is 24"):
                await text_of(client)
            assert manager.tenant_policy("a").weight == 3.0
            assert len((await running.result()).token_ids) == 700

    asyncio.run(run())


def test_configured_anew_what_is_not_named_is_gone(manager, tiny_path):
    models = [Model("tiny", str(tiny_path))]

    async def run():
        async with served(manager, tiny_path, [Tenant("a"), Tenant("b")]) as client:
            await text_of(client, tenant_id="b")
            running = client.generate(call("b", **LONG))
            await anext(running)
            await client.configure(models=models, tenants=[Tenant("a"), Tenant("c")])
            with pytest.raises(errors.CancelledError):
                await running.result()
            assert set(manager.tenant_ids) <= {"a", "c"}
            assert await text_of(client) == await text_of(client, tenant_id="c")

    asyncio.run(run())


def test_ten_thousand_tenants_are_known_at_once(manager, tiny_path):
    tenants = [Tenant(f"t{number}", weight=2.0) for number in range(10_000)]

    async def run():
        async with served(manager, tiny_path, tenants) as client:
            assert "t9999" not in manager.tenant_ids
            await text_of(client, tenant_id="t9999")
            assert manager.tenant_policy("t9999").weight == 2.0
            assert len(manager.tenant_ids) < 100

    asyncio.run(run())


def test_a_replaced_adapter_serves_those_who_come_later(manager, tiny_path, tmp_path):
    old, new = (write_adapter(tmp_path / f"version-{seed}", seed) for seed in (1, 2))
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "adapter_config.json").write_text("{", encoding="utf-8")
    (broken / "adapter_model.safetensors").write_bytes(b"no numbers")
    tenants = [Tenant("a", adapter="voice"), Tenant("b")]

    async def run():
        adapters = [item("voice", old, "a", "01")]
        async with served(manager, tiny_path, tenants, adapters=adapters) as client:
            plain = await text_of(client, adapters=[])
            first = await text_of(client)
            whole = await client.generate(call(**LONG)).result()
            running = client.generate(call(**LONG))
            await anext(running)
            await client.put_item("adapter", item("voice", new, "a", "02"))
            second = await text_of(client)
            assert len({plain, first, second}) == 3
            with pytest.raises(errors.AdapterError) as refusal:
                await client.put_item("adapter", item("voice", broken, "a", "03"))
            assert str(tmp_path) not in str(refusal.value)
            assert "adapter 'voice'" in str(refusal.value)
            with pytest.raises(errors.AdapterOpenError) as refusal:
                await client.put_item("adapter", item("voice", tmp_path / "none", "a", "04"))
            assert str(tmp_path) not in str(refusal.value)
            assert await text_of(client) == second
            assert (await running.result()).text == whole.text
            # Nobody else may name it.
            with pytest.raises(errors.AdapterNotFoundError):
                await text_of(client, tenant_id="b", adapters=[("voice", 1.0)])
            await client.remove_item("adapter", "voice", "a")
            await client.remove_item("adapter", "voice", "a")
            with pytest.raises(errors.AdapterNotFoundError):
                await text_of(client)
            with pytest.raises(errors.ConfigError, match="kind"):
                await client.put_item("engine", item("x", old))

    asyncio.run(run())


def test_programs_by_name(manager, tiny_path, tmp_path):
    wasm = tmp_path / "program.wasm"
    wasm.write_bytes(default_program())
    broken = tmp_path / "broken.wasm"
    broken.write_bytes(b"no module")
    tenants = [Tenant("a", program="own"), Tenant("b")]

    async def run():
        async with served(manager, tiny_path, tenants) as client:
            expected = await text_of(client, tenant_id="b")
            with pytest.raises(errors.ProgramNotFoundError, match="own"):
                await text_of(client)
            await client.put_item("program", item("own", wasm, "a", "01"))
            await client.put_item("program", item("everyones", wasm, None, "02"))
            assert await text_of(client) == expected
            assert await text_of(client, tenant_id="b", program="everyones") == expected
            for path in (broken, tmp_path / "missing.wasm"):
                with pytest.raises(errors.GuestCompileError) as refusal:
                    await client.put_item("program", item("own", path, "a", "03"))
                assert str(tmp_path) not in str(refusal.value)
            assert await text_of(client) == expected
            with pytest.raises(errors.ProgramNotFoundError):
                await text_of(client, tenant_id="b", program="own")
            await client.remove_item("program", "everyones", None)
            with pytest.raises(errors.ProgramNotFoundError):
                await text_of(client, tenant_id="b", program="everyones")

    asyncio.run(run())


def test_drafts_never_change_a_text_and_bad_ones_are_left_out(manager, tiny_path, tmp_path):
    no_draft = tmp_path / "no.gguf"
    no_draft.write_bytes(b"GGUF?")
    tenants = [
        Tenant("a"),
        Tenant("b", drafts={"tiny": "quick"}),
        Tenant("c", drafts={"tiny": "x"}),
    ]

    async def run():
        drafts = [item("x", no_draft, None, "09")]
        async with served(manager, tiny_path, tenants, drafts=drafts) as client:
            expected = await text_of(client)
            await client.put_item("draft", item("quick", tiny_path, "b", "01"))
            assert await text_of(client, tenant_id="b") == expected
            runtime = manager.registered_models("b")[0]
            assert str(runtime.draft_model_path) == str(tiny_path)
            with pytest.raises(errors.GGUFError) as refusal:
                await client.put_item("draft", item("quick", no_draft, "b", "02"))
            assert str(tmp_path) not in str(refusal.value)
            assert await text_of(client, tenant_id="c") == expected

    asyncio.run(run())


def test_a_draft_that_no_name_means_any_more_leaves_memory(manager, tiny_path, tmp_path):
    paths = [
        TinyModel(block_type=kind).write(tmp_path / f"{kind}.gguf") for kind in ("Q4_0", "Q8_0")
    ]
    tenants = [Tenant("a"), *(Tenant(name, drafts={"tiny": "quick"}) for name in "bc")]

    async def run():
        async with served(manager, tiny_path, tenants) as client:

            async def kept() -> list[str]:
                for tenant in tenants:
                    assert await text_of(client, tenant_id=tenant.tenant_id) == expected
                return sorted(name for name in manager.models if name.startswith("draft:a"))

            expected = await text_of(client)
            for owner in "bc":
                await client.put_item("draft", item("quick", paths[0], owner, "a1"))
            assert await kept() == ["draft:a1"]
            first = weakref.ref(manager.models["draft:a1"])
            await client.put_item("draft", item("quick", paths[1], "b", "a2"))
            assert await kept() == ["draft:a1", "draft:a2"]
            await client.remove_tenant("c")
            tenants.pop()
            assert await kept() == ["draft:a2"]
            await client.figures()  # the engine's thread was there
            gc.collect()
            assert first() is None
            await client.remove_item("draft", "quick", "b")
            assert await kept() == []

    asyncio.run(run())


def test_a_draft_of_one_tenant_and_programs_go_with_it(manager, tiny_path, tmp_path):
    wasm = tmp_path / "program.wasm"
    wasm.write_bytes(default_program())

    async def run():
        async with connected(manager) as client:
            models = [Model("tiny", str(tiny_path))]
            programs = [item("own", wasm, "a", "01"), item("own", wasm, "unknown", "01")]
            tenants = [Tenant("a", program="own")]
            await client.configure(models=models, tenants=tenants, programs=programs)
            await text_of(client)
            await client.remove_tenant("a")
            await client.put_tenant(tenants[0])
            with pytest.raises(errors.ProgramNotFoundError):
                await text_of(client)

    asyncio.run(run())
