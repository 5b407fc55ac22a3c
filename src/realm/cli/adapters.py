"""`realm adapters add|list|show|remove`: the adapters of this machine, by name."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from realm.cli.arguments import add_json_argument, add_model_arguments
from realm.cli.context import Context
from realm.cli.model_file import find_model_file
from realm.cli.presentation import format_bytes, format_rows, print_json
from realm.gguf import open_gguf
from realm.lora import AdapterBase
from realm.lora.registry import AdapterRecord, AdapterRegistry
from realm.model.adapter_base import adapter_base
from realm.model.architectures import read_hyperparameters

_ACTIONS = (
    ("add", "check an adapter against a model, copy it, and give it a name"),
    ("list", "list the adapters that are here"),
    ("show", "show what an adapter is"),
    ("remove", "forget a name; the content goes with its last name"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """See `realm.cli.main.Command`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, summary in _ACTIONS:
        action = actions.add_parser(name, help=summary, description=summary)
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
        record = registry.add(arguments.name, arguments.path, _base(arguments, context))
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


def _base(arguments: argparse.Namespace, context: Context) -> AdapterBase:
    with open_gguf(find_model_file(arguments, context)) as file:
        return adapter_base(read_hyperparameters(file), file)


def _list(registry: AdapterRegistry, arguments: argparse.Namespace, context: Context) -> None:
    records = registry.list()
    if arguments.json:
        adapters = [asdict(record) for record in records]
        print_json({"directory": str(registry.directory), "adapters": adapters}, context.stdout)
        return
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
    context.stdout.write(format_rows(rows, indent=""))
    print(f"in {registry.directory}", file=context.stdout)


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
