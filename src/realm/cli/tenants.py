"""`realm tenants add|list|show|set|remove`: who the server serves, and on what terms.

A running server notices the change within a second or so.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from typing import Any

from realm.cli.arguments import add_actions, add_json_argument
from realm.cli.context import Context
from realm.cli.presentation import format_rows, print_json
from realm.cli.tenant_database import (
    LIMIT_NAMES,
    add_database_argument,
    open_store,
    tenant_document,
    tenant_from,
    terms_of,
)
from realm.errors import ConfigError, RequestError
from realm.server.definitions import Tenant
from realm.server.store import TenantStore

_ACTIONS = (
    ("add", "make a tenant"),
    ("list", "list the tenants"),
    ("show", "show what is set of a tenant"),
    ("set", "change what is given of a tenant; an empty value sets it back"),
    ("remove", "remove a tenant with its keys and the names of its adapters and programs"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """See `realm.cli.main.Command`."""
    for name, action in add_actions(parser, _ACTIONS):
        if name != "list":
            action.add_argument("tenant", metavar="ID")
        if name in ("add", "set"):
            _add_terms(action)
        add_database_argument(action)
        add_json_argument(action)


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """See `realm.cli.main.Command`."""
    with open_store(arguments) as store:
        if arguments.action == "list":
            _list(store, arguments, context)
            return 0
        tenant = _act(store, arguments)
    _print(tenant, arguments, context)
    return 0


def _act(store: TenantStore, arguments: argparse.Namespace) -> Tenant:
    """The tenant as it is now; the one that was, when it is removed."""
    tenant_id = arguments.tenant

    def add(before: Tenant | None) -> Tenant:
        if before is not None:
            raise ConfigError(f"there is a tenant {tenant_id!r} already")
        return _with_terms({"tenant_id": tenant_id}, arguments)

    def change(before: Tenant | None) -> Tenant:
        return _with_terms(terms_of(_required(before, tenant_id)), arguments)

    if arguments.action in ("add", "set"):
        return store.change_tenant(tenant_id, add if arguments.action == "add" else change)
    found = (each for each in store.snapshot().tenants if each.tenant_id == tenant_id)
    tenant = _required(next(found, None), tenant_id)
    if arguments.action == "remove":
        store.remove_tenant(tenant_id)
    return tenant


def _required(tenant: Tenant | None, tenant_id: str) -> Tenant:
    if tenant is None:
        raise RequestError(f"no tenant {tenant_id!r}")
    return tenant


def _add_terms(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models", metavar="NAME[,NAME...]", help="that it may use; all when empty or left out"
    )
    parser.add_argument("--adapter", metavar="NAME", help="of requests that name none")
    parser.add_argument("--program", metavar="NAME", help="its own, or everyone's")
    parser.add_argument(
        "--draft",
        type=_assignment,
        action="append",
        default=[],
        metavar="MODEL=NAME",
        help="the draft that drafts for a model; may be repeated",
    )
    parser.add_argument(
        "--limit",
        type=_assignment,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"may be repeated: {', '.join(LIMIT_NAMES)}",
    )
    parser.add_argument("--weight", metavar="X", help="share of the engine under load (1)")
    parser.add_argument("--priority", metavar="N", help="higher ones go first (0)")
    state = parser.add_mutually_exclusive_group()
    state.add_argument("--disable", action="store_true", help="refuse its requests")
    state.add_argument("--enable", action="store_true", help="serve it again")


def _assignment(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _with_terms(document: dict[str, Any], arguments: argparse.Namespace) -> Tenant:
    """The tenant with what was given on the command line. Raises ConfigError."""
    for field in ("adapter", "program", "weight", "priority"):
        _put(document, {field: getattr(arguments, field)})
    if arguments.models is not None:
        _put(document, {"models": [name for name in arguments.models.split(",") if name] or ""})
    for name, _ in arguments.limit:
        if name not in LIMIT_NAMES:
            raise ConfigError(f"no limit is called {name!r}: one of {', '.join(LIMIT_NAMES)}")
    for field, given in (("drafts", arguments.draft), ("limits", arguments.limit)):
        document[field] = dict(document.get(field, {}))
        _put(document[field], dict(given))
    if arguments.enable or arguments.disable:
        document["is_enabled"] = arguments.enable
    return tenant_from(document)


def _put(document: dict[str, Any], given: Mapping[str, Any]) -> None:
    """None leaves a field as it is, an empty text sets it back."""
    for field, value in given.items():
        if value == "":
            document.pop(field, None)
        elif value is not None:
            document[field] = value


def _list(store: TenantStore, arguments: argparse.Namespace, context: Context) -> None:
    snapshot = store.snapshot()
    if arguments.json:
        documents = [tenant_document(tenant) for tenant in snapshot.tenants]
        print_json({"tenants": documents}, context.stdout)
        return
    keys = Counter(stored.key.tenant_id for stored in snapshot.keys)
    rows = [("TENANT", "STATE", "KEYS", "MODELS", "ADAPTER", "PROGRAM", "WEIGHT", "PRIORITY")]
    rows += [
        (
            tenant.tenant_id,
            _state(tenant),
            str(keys[tenant.tenant_id]),
            _models(tenant),
            tenant.adapter or "-",
            tenant.program or "-",
            f"{tenant.weight:g}",
            str(tenant.priority),
        )
        for tenant in snapshot.tenants
    ]
    context.stdout.write(format_rows(rows, indent=""))


def _print(tenant: Tenant, arguments: argparse.Namespace, context: Context) -> None:
    if arguments.json:
        print_json(tenant_document(tenant), context.stdout)
    elif arguments.action == "show":
        context.stdout.write(format_rows(_facts(tenant)))
    else:
        verb = {"add": "added", "set": "changed", "remove": "removed"}[arguments.action]
        print(f"{verb} {tenant.tenant_id}", file=context.stdout)


def _facts(tenant: Tenant) -> list[tuple[str, str]]:
    limits = terms_of(tenant).get("limits", {})
    return [
        ("tenant", tenant.tenant_id),
        ("state", _state(tenant)),
        ("models", _models(tenant)),
        ("adapter", tenant.adapter or "-"),
        ("program", tenant.program or "-"),
        *((f"draft for {model}", draft) for model, draft in sorted(tenant.drafts.items())),
        ("weight", f"{tenant.weight:g}"),
        ("priority", str(tenant.priority)),
        *((f"limit {name}", f"{value:,}") for name, value in limits.items()),
    ]


def _state(tenant: Tenant) -> str:
    return "enabled" if tenant.is_enabled else "disabled"


def _models(tenant: Tenant) -> str:
    if tenant.models is None:
        return "all"
    return ", ".join(tenant.models) or "none"
