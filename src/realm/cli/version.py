"""`realm version`: the version of the installed package."""

from __future__ import annotations

import argparse
from importlib import metadata

from realm.cli.arguments import add_json_argument
from realm.cli.context import Context
from realm.cli.presentation import print_json


def configure(parser: argparse.ArgumentParser) -> None:
    """See `realm.cli.main.Command`."""
    add_json_argument(parser)


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """See `realm.cli.main.Command`."""
    version = metadata.version("realm")
    if arguments.json:
        print_json({"version": version}, context.stdout)
    else:
        print(f"realm {version}", file=context.stdout)
    return 0
