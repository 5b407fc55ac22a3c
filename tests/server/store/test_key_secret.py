"""The text of keys."""

import re

import pytest

from realm.server.store.key_secret import digest_of, draw_secret, is_prefix, prefix_of


@pytest.mark.parametrize("is_admin", [False, True])
def test_form(is_admin):
    prefix, secret = draw_secret(is_admin=is_admin)
    start = "realm_admin_" if is_admin else "realm_"
    assert re.fullmatch(rf"{start}[a-z0-9]{{8}}_[A-Za-z0-9_-]{{43}}", secret)
    assert secret.startswith(f"{prefix}_")
    assert prefix_of(secret) == prefix
    assert is_prefix(prefix)
    assert not is_prefix(secret)


def test_no_two_are_alike():
    assert len({draw_secret(is_admin=False)[1] for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "change",
    [
        lambda key: "",
        lambda key: key[:-1],
        lambda key: key + "A",
        lambda key: key + "\n",
        lambda key: " " + key,
        lambda key: key.upper(),
        lambda key: key.replace("realm_", "realm-"),
        lambda key: key[:-1] + "é",
        lambda key: key[:-1] + "=",
        lambda key: key[:6],
        lambda key: "sk-" + key,
    ],
)
def test_what_is_no_key_has_no_prefix(change):
    assert prefix_of(change(draw_secret(is_admin=False)[1])) is None


def test_digest_is_sha256_and_takes_any_text():
    assert digest_of("abc").hex().startswith("ba7816bf8f01cfea")
    assert len(digest_of("\ud800")) == 32
