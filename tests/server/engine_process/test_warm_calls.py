"""Which generations begin without a worker: those for which all is there."""

import pytest

from realm.server.definitions import Item, Model, Tenant
from realm.server.engine_process.public_words import PublicWords
from realm.server.engine_process.tenancy import Tenancy
from realm.server.wire import messages as wire


def call(tenant_id="warm", model="tiny", program=None, **options):
    return wire.Generate(1, tenant_id, model, "Once", None, None, None, program, options, False)


@pytest.fixture
def tenancy(manager, tiny_path):
    """It knows one tenant, who has not asked for anything."""
    made = Tenancy(manager, PublicWords([]))
    model = Model("tiny", str(tiny_path))
    told = wire.Configure(1, wire.PROTOCOL_VERSION, [model], [Tenant("warm")], [], [], [])
    made.configure(told)
    yield made
    made.remove_tenant("warm")


def ask(tenancy, program=None):
    runtime = tenancy.runtime(tenancy.tenant("warm"), "tiny")
    runtime.generate("Once", max_tokens=1, program=program)


def test_a_call_like_one_before_is_warm(tenancy):
    assert not tenancy.is_warm(call())
    ask(tenancy)
    assert tenancy.is_warm(call())
    assert tenancy.is_warm(call(temperature=0.5, max_tokens=7))


@pytest.mark.parametrize("name", ["regex", "grammar", "json_schema"])
def test_what_is_compiled_for_one_request_is_not(tenancy, name):
    ask(tenancy)
    assert not tenancy.is_warm(call(**{name: "a+"}))


def test_names_that_mean_nothing_are_not(tenancy):
    ask(tenancy)
    assert not tenancy.is_warm(call(tenant_id="other"))
    assert not tenancy.is_warm(call(model="other"))
    assert not tenancy.is_warm(call(program="other"))


def test_nothing_is_after_a_change(tenancy, manager, tmp_path):
    ask(tenancy)
    tenancy.put_tenant(Tenant("warm", weight=2.0))
    ask(tenancy)
    assert tenancy.is_warm(call())
    path = tmp_path / "none.wasm"
    path.write_bytes(b"\0asm")
    tenancy._items.put(("program", "warm", "own"), Item("own", "warm", "00", 4, str(path)))
    assert not tenancy.is_warm(call())
    ask(tenancy)
    assert tenancy.is_warm(call())
    assert not tenancy.is_warm(call(program="own"))
    assert manager.evict_idle(0.0) >= 1
    assert not tenancy.is_warm(call())
