"""Every variant of the Authorization header but the right one is refused."""

import base64

import pytest

from realm.errors import UnauthorizedError
from realm.server.definitions import Model, Tenant
from realm.server.front.directory import Directory
from realm.server.store import TenantStore

_MADE = {
    "nothing": "",
    "blank": " ",
    "the key alone": "KEY",
    "the scheme alone": "Bearer",
    "the scheme and a space": "Bearer ",
    "the scheme twice": "Bearer Bearer KEY",
    "no space": "BearerKEY",
    "a colon": "Bearer: KEY",
    "an equals sign": "Bearer=KEY",
    "a tab": "Bearer\tKEY",
    "a space and a tab": "Bearer \tKEY",
    "a vertical tab": "Bearer\vKEY",
    "a no-break space": "Bearer\u00a0KEY",
    "an ideographic space": "Bearer\u3000KEY",
    "a space before": " Bearer KEY",
    "a space after": "Bearer KEY ",
    "a tab after": "Bearer KEY\t",
    "a line end after": "Bearer KEY\n",
    "a folded line": "Bearer\r\n KEY",
    "another header inside": "Bearer KEY\r\nX-Admin: 1",
    "a zero after": "Bearer KEY\0",
    "a zero before": "\0Bearer KEY",
    "a byte order mark": "\ufeffBearer KEY",
    "two keys": "Bearer KEY KEY",
    "two keys with a comma": "Bearer KEY,KEY",
    "two headers joined": "Bearer KEY, Bearer KEY",
    "two headers joined, the first wrong": "Bearer x, Bearer KEY",
    "a comma after": "Bearer KEY,",
    "a comma before": ",Bearer KEY",
    "a semicolon": "Bearer KEY; realm=x",
    "in quotes": 'Bearer "KEY"',
    "in single quotes": "Bearer 'KEY'",
    "in angle brackets": "Bearer <KEY>",
    "padded": "Bearer KEY=",
    "percent-encoded": "Bearer %72ealm_x",
    "a parameter": "Bearer token=KEY",
    "cut": "Bearer KEY-CUT",
    "longer": "Bearer KEYA",
    "the prefix alone": "Bearer PREFIX",
    "the prefix and an underscore": "Bearer PREFIX_",
    "another secret": "Bearer PREFIX_" + "A" * 43,
    "upper case": "Bearer UPPER",
    "Basic": "Basic KEY",
    "Basic, encoded": "Basic BASIC",
    "Digest": 'Digest username="KEY"',
    "Token": "Token KEY",
    "ApiKey": "ApiKey KEY",
    "Negotiate": "Negotiate KEY",
    "Bearerx": "Bearerx KEY",
    "xBearer": "xBearer KEY",
    "Cyrillic": "Be\u0430rer KEY",
    "dotless": "Bearer\u0131 KEY",
    "not ASCII after": "Bearer KEYé",
    "not ASCII alone": "Bearer é",
    "half a surrogate": "Bearer \ud800",
    "an injection": "Bearer ' OR 1=1 --",
    "a wildcard": "Bearer %",
    "null": "Bearer null",
    "undefined": "Bearer undefined",
    "a format": "Bearer {0.__class__}",
    "very long": "Bearer " + "A" * 1_000_000,
    "the key, very long": "Bearer KEY" + "A" * 1_000_000,
    "many spaces": "Bearer" + " " * 1_000_000,
    "many commas": "," * 100_000,
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    path = tmp_path_factory.mktemp("headers") / "realm.db"
    with TenantStore(f"sqlite:///{path}") as store:
        store.put_tenant(Tenant("acme"))
        key, secret = store.create_key("acme")
        directory = Directory(
            store, [Model("tiny", "/m")], keys_required=True, wall_clock=lambda: 0.0
        )
        yield directory, key.prefix, secret


@pytest.mark.parametrize("name", _MADE)
def test_refused(served, name):
    directory, prefix, secret = served
    header = _MADE[name]
    basic = base64.b64encode(f"acme:{secret}".encode()).decode()
    for mark, text in (
        ("KEY-CUT", secret[:-1]),
        ("UPPER", secret.upper()),
        ("BASIC", basic),
        ("PREFIX", prefix),
        ("KEY", secret),
    ):
        header = header.replace(mark, text)
    with pytest.raises(UnauthorizedError) as caught:
        directory.authenticate(header)
    assert prefix not in str(caught.value)
    assert len(str(caught.value)) < 100


def test_no_header_is_refused(served):
    with pytest.raises(UnauthorizedError):
        served[0].authenticate(None)


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "bEaReR ", "Bearer    "])
def test_scheme_of_any_case_and_run_of_spaces(served, scheme):
    directory, prefix, secret = served
    assert directory.authenticate(scheme + secret).key_prefix == prefix
