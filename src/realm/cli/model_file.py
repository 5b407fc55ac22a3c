"""From what a user wrote after --model to a file: found, or fetched where that is meant."""

from __future__ import annotations

import argparse
from pathlib import Path

from realm.catalog import Catalog, find_well_known
from realm.catalog.reference import has_scheme
from realm.cli.context import Context
from realm.cli.progress_line import ProgressLine


def find_model_file(arguments: argparse.Namespace, context: Context) -> Path:
    """The file of `--model`. Well-known names and references are fetched when they are not here."""
    catalog = context.open_catalog(arguments.models_directory)
    if find_well_known(arguments.model) is None and not has_scheme(arguments.model):
        return catalog.resolve(arguments.model)
    return fetch_with_progress(catalog, arguments.model, arguments, context)


def fetch_with_progress(
    catalog: Catalog, name: str, arguments: argparse.Namespace, context: Context
) -> Path:
    """Fetch a model and show how far it is, but with --json."""
    line = ProgressLine(context.stderr, name, silent=arguments.json)
    try:
        return catalog.fetch(name, line)
    finally:
        line.close()
