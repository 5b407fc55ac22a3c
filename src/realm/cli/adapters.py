"""`realm adapters add|list|show|remove`: the adapters of this machine, by name."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from realm.cli.adapter_base import read_adapter_base
from realm.cli.arguments import add_actions, add_json_argument, add_model_arguments
from realm.cli.context import Context
from realm.cli.model_file import find_model_file
from realm.cli.presentation import format_bytes, format_rows, print_folder, print_json
from realm.lora.registry import AdapterRecord, AdapterRegistry

_ACTIONS = (
    ("add", "check an adapter against a model, copy it, and give it a name"),
    ("list", "list the adapters that are here"),
    ("show", "show what an adapter is"),
    ("remove", "forget a name; the content goes with its last name"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """See `realm.cli.main.Command`."""
    for name, action in add_actions(parser, _ACTIONS):
        if name != "list":
            action.add_argument("name")
        if name == "add":
            action.add_argument("path", type=Path, help="a PEFT folder or a GGUF adapter")
            add_model_arguments(action)
        action.add_argument(
            "--adapters-directory",
            type=Path,
            metavar="FOLDER",
            help="where adapters are kept ($REALM_HOME/adapters or ~/.cache/realm/adapters)",
        )
        add_json_argument(action)


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """See `realm.cli.main.Command`."""
    registry = AdapterRegistry(arguments.adapters_directory)
    if arguments.action == "list":
        _list(registry, arguments, context)
        return 0
    if arguments.action == "add":
        base = read_adapter_base(find_model_file(arguments, context))
        record = registry.add(arguments.name, arguments.path, base)
    elif arguments.action == "show":
        record = registry.get(arguments.name)
    else:
        record = registry.remove(arguments.name)
    if arguments.json:
        print_json(asdict(record) | {"path": str(registry.directory / record.file)}, context.stdout)
    elif arguments.action == "show":
        context.stdout.write(format_rows(_facts(registry, record)))
    else:
        verb = "added" if arguments.action == "add" else "removed"
        line = f"{verb} {record.name}: {format_bytes(record.size_bytes)}, digest {record.digest}"
        print(line, file=context.stdout)
    return 0


def _list(registry: AdapterRegistry, arguments: argparse.Namespace, context: Context) -> None:
    records = registry.list()
    names = Counter(record.digest for record in records)
    rows = [("NAME", "BASE", "RANK", "SIZE", "CONTENT", "CHANGES")]
    rows += [
        (
            record.name,
            record.architecture,
            str(record.rank),
            format_bytes(record.size_bytes) + (" shared" if names[record.digest] > 1 else ""),
            record.digest[:12],
            ", ".join(record.projections),
        )
        for record in records
    ]
    documents = {"adapters": [asdict(record) for record in records]}
    print_folder(registry.directory, documents, rows, context.stdout, as_json=arguments.json)


def _facts(registry: AdapterRegistry, record: AdapterRecord) -> list[tuple[str, str]]:
    return [
        ("name", record.name),
        ("digest", record.digest),
        ("base", record.architecture),
        ("highest rank", str(record.rank)),
        ("changes", ", ".join(record.projections)),
        ("parameters", f"{record.parameter_count:,}"),
        ("size", format_bytes(record.size_bytes)),
        ("file", str(registry.directory / record.file)),
        ("added from", record.source),
    ]
