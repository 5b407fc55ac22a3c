"""Where the database is when nobody says."""

import pytest
from sqlalchemy import make_url

from realm.errors import ConfigError
from realm.server.store import TenantStore, default_database_url


def test_in_the_home_of_realm(tmp_path, monkeypatch):
    home = tmp_path / "a ? strange # home % @ : é"
    monkeypatch.setenv("REALM_HOME", str(home))
    with TenantStore(default_database_url()):
        assert (home / "server" / "realm.db").is_file()


def test_in_the_cache_where_realm_has_no_home(tmp_path, monkeypatch):
    monkeypatch.delenv("REALM_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    path = make_url(default_database_url()).database
    assert path == str(tmp_path / ".cache" / "realm" / "server" / "realm.db")


def test_without_any_home(monkeypatch):
    def nowhere(self):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("REALM_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.expanduser", nowhere)
    with pytest.raises(ConfigError, match="set REALM_HOME"):
        default_database_url()
