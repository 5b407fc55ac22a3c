"""Who a key belongs to, and what a tenant may name."""

import threading
from dataclasses import replace

import msgspec
import pytest

from realm.errors import (
    AdapterNotFoundError,
    ModelNotFoundError,
    RequestError,
    TenantStoreError,
    UnauthorizedError,
)
from realm.server.definitions import Item, Model, Tenant
from realm.server.front import directory as module
from realm.server.front.directory import Directory
from realm.server.store import Snapshot, TenantStore

MODELS = [Model("tiny", "/m/tiny.gguf"), Model("big", "/m/big.gguf")]


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path):
    with TenantStore(f"sqlite:///{tmp_path / 'realm.db'}") as opened:
        opened.put_tenant(Tenant("acme"))
        opened.put_tenant(Tenant("other", ("big",)))
        for owner, name in (("acme", "french"), ("other", "secret"), (None, "formal")):
            opened.put_item("adapter", Item(name, owner, "ab" * 32, 1, f"/data/{name}"))
        opened.put_item("program", Item("guard", "acme", "ab" * 32, 1, "/data/guard"))
        yield opened


@pytest.fixture
def open_directory(store, clock):
    def open_it(*, keys_required=True):
        return Directory(store, MODELS, keys_required=keys_required, wall_clock=clock)

    return open_it


def test_keys_of_tenants_and_admins(store, open_directory):
    key, secret = store.create_key("acme")
    admin, admin_secret = store.create_key(None)
    directory = open_directory()
    found = directory.authenticate(f"Bearer {secret}")
    assert (found.tenant, found.key_prefix, found.is_admin) == (Tenant("acme"), key.prefix, False)
    assert directory.authenticate_key(secret) == found
    found = directory.authenticate(f"Bearer {admin_secret}")
    assert (found.tenant, found.key_prefix, found.is_admin) == (None, admin.prefix, True)


def wrong_keys(store, clock):
    """Keys that open nothing, each for another reason."""
    store.put_tenant(Tenant("off"))
    disabled, secret = store.create_key("acme")
    store.set_key_enabled(disabled.prefix, False)
    removed, removed_secret = store.create_key("acme")
    store.remove_key(removed.prefix)
    _, gone = store.create_key("off")
    store.remove_tenant("off")
    store.put_tenant(Tenant("off", is_enabled=False))
    _, right = store.create_key("acme")
    return [
        secret,
        removed_secret,
        gone,
        store.create_key("acme", expires_at=clock.now)[1],
        store.create_key("off")[1],
        right[:-1] + ("A" if right[-1] != "A" else "B"),
        right.replace("realm_", "realm_admin_"),
        "realm_aaaaaaaa_" + "A" * 43,
        "x",
        "",
        "é",
        "\ud800",
        "x" * 1_000_000,
    ]


@pytest.mark.parametrize("keys_required", [True, False])
def test_every_refusal_reads_the_same(store, open_directory, clock, keys_required):
    keys = wrong_keys(store, clock)
    directory = open_directory(keys_required=keys_required)
    said = set()
    for key in keys if keys_required else keys[:8]:
        with pytest.raises(UnauthorizedError) as caught:
            directory.authenticate_key(key)
        said.add(str(caught.value))
        assert caught.value.__cause__ is caught.value.__context__ is None
    assert len(said) == 1


def test_digests_are_compared_in_constant_time_whatever_the_key(
    store, open_directory, clock, monkeypatch
):
    keys = [*wrong_keys(store, clock), store.create_key("acme")[1]]
    directory = open_directory()
    compared = []

    def compare(one, other):
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(module.hmac, "compare_digest", compare)
    for count, key in enumerate(keys, 1):
        try:
            directory.authenticate_key(key)
        except UnauthorizedError:
            assert key is not keys[-1]
        assert len(compared) == count
    assert all(len(one) == len(other) == 32 for one, other in compared)


def test_a_key_expires_with_the_clock(store, open_directory, clock):
    _, secret = store.create_key("acme", expires_at=clock.now + 10)
    directory = open_directory()
    clock.now += 9.9
    assert directory.authenticate_key(secret).tenant == Tenant("acme")
    clock.now += 0.1
    with pytest.raises(UnauthorizedError):
        directory.authenticate_key(secret)


def test_refresh_follows_the_store(store, open_directory):
    directory = open_directory()
    assert not directory.has_keys
    assert not directory.refresh()
    key, secret = store.create_key("acme")
    with pytest.raises(UnauthorizedError):
        directory.authenticate_key(secret)
    assert directory.refresh()
    assert directory.has_keys
    assert not directory.refresh()
    assert directory.authenticate_key(secret).tenant == Tenant("acme")
    store.put_tenant(Tenant("acme", is_enabled=False))
    assert directory.refresh()
    with pytest.raises(UnauthorizedError):
        directory.authenticate_key(secret)
    store.put_tenant(Tenant("acme", weight=2.0))
    store.set_key_enabled(key.prefix, False)
    directory.refresh()
    with pytest.raises(UnauthorizedError):
        directory.authenticate_key(secret)
    store.set_key_enabled(key.prefix, True)
    directory.refresh()
    assert directory.authenticate_key(secret).tenant == Tenant("acme", weight=2.0)


def test_a_store_that_fails_leaves_what_was_known(store, open_directory):
    _, secret = store.create_key("acme")
    directory = open_directory()
    store.close()
    with pytest.raises(TenantStoreError):
        directory.refresh()
    assert directory.authenticate_key(secret).tenant == Tenant("acme")
    assert directory.resolve_model(Tenant("acme"), "tiny:french").adapter == "french"


def test_without_keys(store, open_directory):
    directory = open_directory(keys_required=False)
    anyone = directory.authenticate(None)
    assert (anyone.tenant, anyone.key_prefix) == (Tenant("default"), None)
    assert directory.tenant("default") in directory.tenants()
    for header in ("Bearer sk-anything", "Basic eDp5", "", "Bearer none"):
        assert directory.authenticate(header) == anyone
    _, secret = store.create_key(None)
    _, own = store.create_key("acme")
    directory.refresh()
    assert directory.authenticate(f"Bearer {secret}").is_admin
    assert directory.authenticate(f"Bearer {own}").tenant == Tenant("acme")
    store.put_tenant(Tenant("default", weight=3.0))
    directory.refresh()
    assert directory.authenticate(None).tenant == Tenant("default", weight=3.0)
    store.put_tenant(Tenant("default", is_enabled=False))
    directory.refresh()
    for header in (None, "Bearer none"):
        with pytest.raises(UnauthorizedError):
            directory.authenticate(header)
    directory.keys_required = True
    store.remove_tenant("default")
    directory.refresh()
    with pytest.raises(UnauthorizedError):
        directory.authenticate(None)
    with pytest.raises(RequestError):
        directory.tenant("default")


def test_names_of_models_and_adapters(open_directory):
    directory = open_directory()
    acme, other = directory.tenant("acme"), directory.tenant("other")
    assert directory.model_names(acme) == [
        "tiny", "tiny:formal", "tiny:french", "big", "big:formal", "big:french",
    ]  # fmt: skip
    assert directory.model_names(other) == ["big", "big:formal", "big:secret"]
    for tenant in (acme, other):
        for name in directory.model_names(tenant):
            choice = directory.resolve_model(tenant, name)
            assert name == ":".join(filter(None, (choice.model.name, choice.adapter)))
    assert directory.model_names(Tenant("new", models=())) == []


def test_what_is_anothers_is_refused_like_what_is_nobodys(open_directory):
    directory = open_directory()
    acme, other = directory.tenant("acme"), directory.tenant("other")

    def refusal(tenant, name, error):
        with pytest.raises(error) as caught:
            directory.resolve_model(tenant, name)
        return type(caught.value), str(caught.value).replace(name.split(":")[-1], "NAME")

    same = refusal(acme, "tiny:secret", AdapterNotFoundError)
    assert same == refusal(acme, "tiny:nobodys", AdapterNotFoundError)
    same = refusal(other, "tiny", ModelNotFoundError)
    assert same == refusal(other, "nobodys", ModelNotFoundError)
    # Another model's name with an adapter tells of neither.
    assert refusal(other, "tiny:secret", ModelNotFoundError)[0] is ModelNotFoundError


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", ModelNotFoundError),
        (":", ModelNotFoundError),
        (":french", ModelNotFoundError),
        ("TINY", ModelNotFoundError),
        ("tiny ", ModelNotFoundError),
        ("/m/tiny.gguf", ModelNotFoundError),
        ("tiny:", AdapterNotFoundError),
        ("tiny:French", AdapterNotFoundError),
        ("tiny:french:formal", AdapterNotFoundError),
        ("tiny:/data/french", AdapterNotFoundError),
        ("tiny:../other/secret", AdapterNotFoundError),
        ("tiny:guard", AdapterNotFoundError),
        ("tiny:\ud800", AdapterNotFoundError),
        ("x" * 1_000_000, ModelNotFoundError),
        ("tiny:" + "x" * 1_000_000, AdapterNotFoundError),
    ],
)
def test_hostile_names_of_models(open_directory, name, error):
    directory = open_directory()
    with pytest.raises(error) as caught:
        directory.resolve_model(directory.tenant("acme"), name)
    assert len(str(caught.value)) < 1000


def test_unknown_tenant(open_directory):
    with pytest.raises(RequestError):
        open_directory().tenant("nobody")


class ManyTenants:
    """A store with ten thousand tenants, a key and an adapter each."""

    def __init__(self, snapshot, count):
        names = [f"t{number}" for number in range(count)]
        key = snapshot.keys[0]
        self.one = Snapshot(
            5,
            tuple(Tenant(name) for name in names),
            tuple(
                replace(key, key=msgspec.structs.replace(
                    key.key, prefix=f"realm_{number:08}", tenant_id=name))
                for number, name in enumerate(names)
            ),
            {"adapter": tuple(Item(f"a-{name}", name, "", 0, "/x") for name in names),
             "program": (), "draft": ()},
        )  # fmt: skip

    def snapshot(self):
        return self.one

    def revision(self):
        return 5


def test_ten_thousand_tenants(store, clock):
    store.create_key("acme")
    many = ManyTenants(store.snapshot(), 10_000)
    directory = Directory(many, MODELS, keys_required=True, wall_clock=clock)
    assert len(directory.tenants()) == 10_000
    names = directory.model_names(directory.tenant("t9999"))
    assert names == ["tiny", "tiny:a-t9999", "big", "big:a-t9999"]


def test_requests_while_the_store_changes(store, open_directory):
    """A picture is whole: whoever is found by a key is there with all that is its own."""
    directory, errors = open_directory(), []
    _, secret = store.create_key("acme")
    directory.refresh()
    changed, stop = threading.Event(), threading.Event()

    def ask():
        try:
            while changed.wait() and not stop.is_set():
                changed.clear()
                for _ in range(200):
                    tenant = directory.authenticate_key(secret).tenant
                    assert len(directory.model_names(tenant)) == 6
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    for number in range(30):
        changed.set()
        store.put_tenant(Tenant("acme", weight=float(number + 1)))
        assert directory.refresh()
    stop.set()
    changed.set()
    thread.join()
    assert errors == []
    assert directory.tenant("acme").weight == 30.0
