"""The database of tenants and keys that a command works on."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from realm.errors import ConfigError

try:
    import msgspec

    from realm.server.definitions import Key, Limits, Tenant, is_tenant_id
    from realm.server.settings import load_settings
    from realm.server.store import TenantStore
except ModuleNotFoundError as error:
    raise ConfigError(
        f"tenants and keys need {error.name}; install it with: pip install 'realm[server]'"
    ) from error

LIMIT_NAMES = tuple(field.name for field in msgspec.structs.fields(Limits))


def add_database_argument(parser: argparse.ArgumentParser) -> None:
    """--database."""
    parser.add_argument(
        "--database",
        metavar="URL",
        help="an SQLAlchemy URL (as the server's settings say, else SQLite in "
        "$REALM_HOME/server/realm.db or ~/.cache/realm/server/realm.db)",
    )


def open_store(arguments: argparse.Namespace) -> TenantStore:
    """The store that is asked for; the caller closes it. Raises TenantStoreError."""
    return TenantStore(arguments.database or load_settings(None, os.environ, {}).database_url)


def format_time(seconds: float | None) -> str:
    """Seconds since 1970 as a date and time, UTC; a dash for None."""
    if seconds is None:
        return "-"
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):  # further than the calendar goes
        return f"{seconds:.0f}"


def key_document(key: Key) -> dict[str, Any]:
    """For --json. Never with the secret, which nobody has."""
    return msgspec.structs.asdict(key)


def tenant_document(tenant: Tenant) -> dict[str, Any]:
    """For --json: with every field, also those that are as usual."""
    return msgspec.structs.asdict(tenant) | {"limits": msgspec.structs.asdict(tenant.limits)}


def terms_of(tenant: Tenant) -> dict[str, Any]:
    """What is set of a tenant, as `tenant_from` takes it."""
    document: dict[str, Any] = msgspec.to_builtins(tenant)
    return document


def tenant_from(document: Mapping[str, Any]) -> Tenant:
    """The tenant that this describes; numbers may come as text. Raises ConfigError."""
    if not is_tenant_id(document["tenant_id"]):
        raise ConfigError(
            "a tenant's id has up to 64 letters, digits, '.', '_' and '-', and begins with one of "
            "the first two"
        )
    try:
        return msgspec.convert(document, Tenant, strict=False)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        raise ConfigError(f"{place.rstrip('`') or 'the tenant'}: {reason}") from None
