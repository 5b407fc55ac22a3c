"""From what a user wrote after --model to a file: found, or fetched where that is meant."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

from realm.cli.context import Context
from realm.cli.progress_line import ProgressLine


def find_model_file(arguments: argparse.Namespace, context: Context) -> Path:
    """The file of `--model`. Short names and references are fetched when they are not here;
    progress is shown, but with --json."""
    catalog = context.open_catalog(arguments.models_directory)
    with closing(ProgressLine(context.stderr, arguments.model, silent=arguments.json)) as line:
        return catalog.obtain(arguments.model, line)
