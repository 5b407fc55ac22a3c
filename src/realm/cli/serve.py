"""`realm serve`: the models over HTTP and WebSocket, for many tenants."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from realm.catalog import Catalog
from realm.cli.arguments import add_directory_argument, whole_number
from realm.cli.context import Context
from realm.cli.drafts import draft_file
from realm.cli.progress_line import ProgressLine
from realm.errors import ConfigError

try:
    from realm.server.definitions import Model
    from realm.server.front.serve import serve
    from realm.server.settings import ModelSetting, load_settings, model_setting
except ModuleNotFoundError as error:
    raise ConfigError(
        f"the server needs {error.name}; install it with: pip install 'realm[server]'"
    ) from error

_DRAFTED = "smollm2"  # whose draft Realm brings along
_OWN = ("config", "model")


def configure(parser: argparse.ArgumentParser) -> None:
    """See `realm.cli.main.Command`."""
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="TOML ($REALM_HOME/server/realm.toml)")
    add(
        "--model",
        "-m",
        action="append",
        metavar="[NAME=]SOURCE",
        help="a model to serve: a catalog name, a reference or a file; may be repeated (smollm2)",
    )
    add_directory_argument(parser)
    add("--host", metavar="ADDRESS", help="to listen on (127.0.0.1)")
    add("--port", type=whole_number(0), metavar="N", help="0 takes a free one (8000)")
    add(
        "--keys-required",
        action=argparse.BooleanOptionalAction,
        help="whether every request needs a key (once one exists, and for other machines)",
    )
    add("--data-directory", type=Path, metavar="FOLDER", help="($REALM_HOME/server)")
    add("--database-url", metavar="URL", help="SQLAlchemy's (SQLite in the data directory)")
    add("--pipelines-directory", type=Path, metavar="FOLDER", help="definitions of pipelines")
    add("--threads", type=whole_number(0), metavar="N", help="0 takes every processor")
    add("--draft-k", type=whole_number(0), metavar="K", help="most drafted tokens of a step")
    add("--max-requests", type=whole_number(1), metavar="N", help="generations at once (256)")
    add("--metrics-port", type=whole_number(0), metavar="N", help="/metrics without a key")
    add("--drain-seconds", type=float, metavar="S", help="for running requests at the end (30)")
    add("--log-level", choices=("debug", "info", "warning", "error"), help="(info)")
    add("--log-format", choices=("text", "json"), help="(text)")


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """See `realm.cli.main.Command`."""
    flags: dict[str, Any] = {
        name: value for name, value in vars(arguments).items() if name not in _OWN
    }
    if arguments.model is not None:
        flags["models"] = [_as_flag(text) for text in arguments.model]
    settings = load_settings(arguments.config, os.environ, flags)
    catalog = context.open_catalog(settings.models_directory)
    return serve(settings, _found(settings.models, catalog, context), context.stdout)


def _as_flag(text: str) -> dict[str, Any]:
    setting = model_setting(text, "--model")
    return {"name": setting.name, "source": setting.source}


def _found(settings: Sequence[ModelSetting], catalog: Catalog, context: Context) -> list[Model]:
    """The models with their files, fetched where that is meant. Raises CatalogError."""

    def obtain(source: str) -> str:
        with closing(ProgressLine(context.stderr, source, silent=False)) as line:
            return str(catalog.obtain(source, line))

    models = []
    for setting in settings:
        source = setting.source or setting.name
        draft = setting.draft
        if draft is None:
            beside = draft_file() if source == _DRAFTED else None
            draft_path = None if beside is None else str(beside)
        else:
            draft_path = obtain(draft) if draft else None
        models.append(Model(setting.name, obtain(source), draft_path))
    return models
