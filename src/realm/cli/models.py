"""`realm models fetch|list|verify|remove|path`: the model files of this machine."""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import Any

from realm.catalog import Catalog, CatalogEntry, CatalogRecord
from realm.cli.arguments import add_actions, add_directory_argument, add_json_argument
from realm.cli.context import Context
from realm.cli.presentation import format_bytes, print_folder, print_json
from realm.cli.progress_line import ProgressLine

_ACTIONS = (
    ("fetch", "fetch a model and verify it"),
    ("list", "list the models that are here or have a short name"),
    ("verify", "compare a model's file with its hash"),
    ("remove", "delete a model's file"),
    ("path", "print where a model's file is"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """See `realm.cli.main.Command`."""
    for name, action in add_actions(parser, _ACTIONS):
        if name != "list":
            action.add_argument(
                "name",
                help="a short name, hf:owner/repo/file.gguf[@revision], "
                "package:NAME[+NAME...][==version] or path:FILE",
            )
        add_directory_argument(action)
        add_json_argument(action)


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """See `realm.cli.main.Command`."""
    catalog = context.open_catalog(arguments.models_directory)
    if arguments.action == "fetch":
        _fetch(catalog, arguments, context)
    elif arguments.action == "path":
        _print_path(str(catalog.resolve(arguments.name)), arguments, context)
    elif arguments.action == "list":
        _list(catalog, arguments, context)
    elif arguments.action == "verify":
        _verify(catalog, arguments, context)
    else:
        record = catalog.remove(arguments.name)
        _print_record(record, "removed", arguments, context)
    return 0


def _fetch(catalog: Catalog, arguments: argparse.Namespace, context: Context) -> None:
    with closing(ProgressLine(context.stderr, arguments.name, silent=arguments.json)) as line:
        path = catalog.fetch(arguments.name, line)
    _print_path(str(path), arguments, context)


def _print_path(path: str, arguments: argparse.Namespace, context: Context) -> None:
    if arguments.json:
        print_json({"path": path}, context.stdout)
    else:
        print(path, file=context.stdout)


def _list(catalog: Catalog, arguments: argparse.Namespace, context: Context) -> None:
    entries = catalog.list()
    rows = [("NAME", "STATE", "SIZE", "WHAT")]
    rows += [
        (e.name, e.state.value, format_bytes(e.size_bytes), e.description or e.source)
        for e in entries
    ]
    documents = {"models": [_document(entry) for entry in entries]}
    print_folder(catalog.directory, documents, rows, context.stdout, as_json=arguments.json)


def _verify(catalog: Catalog, arguments: argparse.Namespace, context: Context) -> None:
    with closing(ProgressLine(context.stderr, arguments.name, silent=arguments.json)) as line:
        record = catalog.verify(arguments.name, line)
    _print_record(record, "verified", arguments, context)


def _print_record(
    record: CatalogRecord, verb: str, arguments: argparse.Namespace, context: Context
) -> None:
    if arguments.json:
        document = {"name": record.name, "sha256": record.sha256, "size_bytes": record.size_bytes}
        print_json({**document, "source": record.source, "state": verb}, context.stdout)
    else:
        print(
            f"{verb} {record.name}: {format_bytes(record.size_bytes)}, sha256 {record.sha256}",
            file=context.stdout,
        )


def _document(entry: CatalogEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "state": entry.state.value,
        "size_bytes": entry.size_bytes,
        "sha256": entry.sha256,
        "source": entry.source,
        "path": str(entry.path) if entry.path is not None else None,
        "description": entry.description,
    }
