"""Where the database is when nobody says."""

from __future__ import annotations

import os

from sqlalchemy import URL

from realm.errors import ConfigError
from realm.server.settings import default_data_directory


def default_database_url() -> str:
    """SQLite in `$REALM_HOME/server/realm.db`, or in `~/.cache/realm/server` where REALM_HOME is
    not set. Raises ConfigError where there is no home either.
    """
    try:
        path = default_data_directory(os.environ).absolute() / "realm.db"
    except RuntimeError as error:
        raise ConfigError(f"{error}; set REALM_HOME") from None
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)
