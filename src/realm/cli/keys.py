"""`realm keys create|list|disable|enable|remove`: what opens the server.

A running server notices the change within a second or so.
"""

from __future__ import annotations

import argparse
import time

from realm.cli.arguments import add_actions, add_json_argument, whole_number
from realm.cli.context import Context
from realm.cli.presentation import format_rows, print_json
from realm.cli.tenant_database import (
    add_database_argument,
    format_time,
    key_document,
    open_store,
)
from realm.errors import RequestError
from realm.server.definitions import Key
from realm.server.store import TenantStore

_ACTIONS = (
    ("create", "make a key and show it, once"),
    ("list", "list keys, without their secrets"),
    ("disable", "let a key open nothing"),
    ("enable", "let a disabled key open again"),
    ("remove", "forget a key"),
)
_DAY_SECONDS = 86400
_MOST_DAYS = 100_000


def configure(parser: argparse.ArgumentParser) -> None:
    """See `realm.cli.main.Command`."""
    for name, action in add_actions(parser, _ACTIONS):
        if name == "create":
            owner = action.add_mutually_exclusive_group(required=True)
            owner.add_argument("--tenant", metavar="ID", help="whose requests it opens")
            owner.add_argument("--admin", action="store_true", help="administers, nothing else")
            action.add_argument(
                "--expires-days", type=_days, metavar="N", help="from now; never when left out"
            )
            action.add_argument("--note", default="", help="to know it by in the list")
        elif name == "list":
            action.add_argument("--tenant", metavar="ID", help="only this one's")
        else:
            action.add_argument("prefix", help="the key's first characters, as `list` shows them")
        add_database_argument(action)
        add_json_argument(action)


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """See `realm.cli.main.Command`."""
    with open_store(arguments) as store:
        if arguments.action == "create":
            _create(store, arguments, context)
        elif arguments.action == "list":
            _list(store, arguments, context)
        else:
            _change(store, arguments, context)
    return 0


def _create(store: TenantStore, arguments: argparse.Namespace, context: Context) -> None:
    days = arguments.expires_days
    expires_at = None if days is None else time.time() + days * _DAY_SECONDS
    key, secret = store.create_key(arguments.tenant, expires_at=expires_at, note=arguments.note)
    if arguments.json:
        print_json(key_document(key) | {"key": secret}, context.stdout)
        return
    print(secret, file=context.stdout)
    owner = "an admin key" if key.tenant_id is None else f"a key of {key.tenant_id}"
    print(f"{owner}; it is not kept and cannot be shown again", file=context.stderr)


def _list(store: TenantStore, arguments: argparse.Namespace, context: Context) -> None:
    keys = store.keys()
    if arguments.tenant is not None:
        if all(each.tenant_id != arguments.tenant for each in store.snapshot().tenants):
            raise RequestError(f"no tenant {arguments.tenant!r}")
        keys = [key for key in keys if key.tenant_id == arguments.tenant]
    if arguments.json:
        print_json({"keys": [key_document(key) for key in keys]}, context.stdout)
        return
    now = time.time()
    rows = [("KEY", "TENANT", "STATE", "CREATED", "EXPIRES", "NOTE")]
    rows += [
        (
            key.prefix,
            key.tenant_id or "(admin)",
            _state(key, now),
            format_time(key.created_at),
            format_time(key.expires_at),
            key.note,
        )
        for key in keys
    ]
    context.stdout.write(format_rows(rows, indent=""))


def _change(store: TenantStore, arguments: argparse.Namespace, context: Context) -> None:
    if arguments.action == "remove":
        store.remove_key(arguments.prefix)
        line = f"removed {arguments.prefix}"
    else:
        store.set_key_enabled(arguments.prefix, arguments.action == "enable")
        line = f"{arguments.action}d {arguments.prefix}"
    if arguments.json:
        print_json({"prefix": arguments.prefix, "action": arguments.action}, context.stdout)
    else:
        print(line, file=context.stdout)


def _state(key: Key, now: float) -> str:
    if not key.is_enabled:
        return "disabled"
    return "expired" if key.expires_at is not None and now >= key.expires_at else "enabled"


def _days(text: str) -> int:
    days = whole_number(1)(text)
    if days > _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"must be at most {_MOST_DAYS}, not {days}")
    return days
