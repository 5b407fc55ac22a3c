"""`realm pipelines check|list|show|run`: definitions checked here, and run here or by a server."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from realm.cli.arguments import (
    add_actions,
    add_engine_arguments,
    add_json_argument,
    add_model_arguments,
    text_or_file,
)
from realm.cli.context import Context
from realm.cli.pipeline_server import DEFAULT_SERVER, PipelineServer
from realm.cli.presentation import format_rows, format_seconds, print_json
from realm.errors import ConfigError, PipelineError
from realm.server.pipelines import Pipeline, read_pipeline
from realm.server.pipelines.book import pipeline_files

_ACTIONS = (
    ("check", "check definitions, without running them"),
    ("list", "list the pipelines of a server, or of a folder"),
    ("show", "show what a pipeline takes and which steps it has"),
    ("run", "run a pipeline of a server, or with --model a file's, here"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """See `realm.cli.main.Command`."""
    for name, action in add_actions(parser, _ACTIONS):
        if name == "check":
            action.add_argument("paths", nargs="+", type=Path, help="files, or folders of them")
            add_json_argument(action)
            continue
        if name == "run":
            action.add_argument("pipeline", help="its id; with --model, its file")
            action.add_argument(
                "--input",
                action="append",
                default=[],
                metavar="NAME=VALUE",
                help="may be repeated; NAME=@FILE takes a file's text",
            )
            add_model_arguments(action, required=False)
            add_engine_arguments(action)
        else:
            if name == "show":
                action.add_argument("pipeline", help="its id")
            action.add_argument(
                "--directory", type=Path, metavar="FOLDER", help="look there, not at a server"
            )
        action.add_argument(
            "--server",
            default=DEFAULT_SERVER,
            metavar="URL",
            help=f"({DEFAULT_SERVER}); its key is read from $REALM_API_KEY",
        )
        add_json_argument(action)


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """See `realm.cli.main.Command`."""
    if arguments.action == "check":
        return _check(arguments, context)
    if arguments.action == "run":
        _run(arguments, context)
        return 0
    found = _known(arguments)
    if arguments.action == "list":
        _list(found, arguments, context)
        return 0
    wanted = arguments.pipeline
    document = next((each for each in found if each["id"] == wanted), None)
    if document is None:
        raise PipelineError(f"there is no pipeline {wanted!r}")
    _show(document, arguments, context)
    return 0


def _check(arguments: argparse.Namespace, context: Context) -> int:
    """0 when all are good; tells of each that is not."""
    good: list[Pipeline] = []
    faults: list[str] = []
    owners: dict[str, Path] = {}
    for path in _files(arguments.paths):
        try:
            pipeline = read_pipeline(path)
            other = owners.setdefault(pipeline.pipeline_id, path)
            if other != path and other.parent == path.parent:
                text = f"{path.name}: id: {other.name} has the id {pipeline.pipeline_id!r} already"
                raise PipelineError(text)
            good.append(pipeline)
        except PipelineError as error:
            faults.append(str(error))
    if arguments.json:
        document = {"pipelines": [each.document() for each in good], "errors": faults}
        print_json(document, context.stdout)
    else:
        for pipeline in good:
            steps = len(pipeline.steps)
            line = f"{pipeline.pipeline_id}: good, {steps} step{'s' if steps > 1 else ''}"
            print(line, file=context.stdout)
        for fault in faults:
            print(f"error: {' '.join(fault.split())}", file=context.stderr)
    return 1 if faults else 0


def _files(paths: list[Path]) -> list[Path]:
    return [file for path in paths for file in (pipeline_files(path) if path.is_dir() else [path])]


def _known(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    if arguments.directory is None:
        return PipelineServer(arguments.server).list()
    return [read_pipeline(path).document() for path in pipeline_files(arguments.directory)]


def _list(found: list[dict[str, Any]], arguments: argparse.Namespace, context: Context) -> None:
    if arguments.json:
        print_json({"pipelines": found}, context.stdout)
        return
    rows = [("ID", "NAME", "INPUTS", "STEPS")]
    rows += [
        (each["id"], each["name"], ", ".join(each["inputs"]), str(len(each["steps"])))
        for each in found
    ]
    context.stdout.write(format_rows(rows, indent=""))


def _show(document: dict[str, Any], arguments: argparse.Namespace, context: Context) -> None:
    if arguments.json:
        print_json(document, context.stdout)
        return
    rows = [("id", document["id"]), ("name", document["name"])]
    rows.append(("description", document["description"]))
    for name, each in document["inputs"].items():
        default = "" if each["default"] is None else f", {json.dumps(each['default'])} if left out"
        need = "needed" if each["required"] else f"optional{default}"
        rows.append((f"input {name}", f"{each['type']}, {need}. {each['description']}"))
    for each in document["steps"]:
        rows.append((f"step {each['id']}", each["model"] or f"any model for {each['model_type']}"))
    context.stdout.write(format_rows(rows))


def _run(arguments: argparse.Namespace, context: Context) -> None:
    if arguments.model is None:
        server = PipelineServer(arguments.server)
        inputs = server.show(arguments.pipeline)["inputs"]
        kinds = {name: each["type"] for name, each in inputs.items()}
        result = server.run(arguments.pipeline, _inputs(arguments.input, kinds))
    else:
        # Loads the engine: `check` and the server's commands do without.
        from realm.cli.pipeline_here import run_here  # noqa: PLC0415

        pipeline = read_pipeline(Path(arguments.pipeline))
        kinds = {each.name: each.kind for each in pipeline.inputs.values()}
        result = run_here(pipeline, _inputs(arguments.input, kinds), arguments, context)
    if arguments.json:
        print_json(result, context.stdout)
        return
    output = result["output"]
    print(output if isinstance(output, str) else json.dumps(output, indent=2), file=context.stdout)
    for step in result["steps"]:
        usage, seconds = step["usage"], step["time_ms"] / 1e3
        line = (
            f"[{step['id']}: {step['model']}, {usage['prompt_tokens']} + "
            f"{usage['completion_tokens']} tokens, {format_seconds(seconds)}]"
        )
        print(line, file=context.stderr)


def _inputs(words: list[str], kinds: dict[str, str]) -> dict[str, Any]:
    """Texts as they stand, all else as JSON. Raises ConfigError."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"--input {word!r} is not NAME=VALUE")
        if name in found:
            raise ConfigError(f"--input {name} is given twice")
        text = text_or_file(value)
        if name not in kinds or kinds[name] == "string":
            found[name] = text
            continue
        try:
            found[name] = json.loads(text or "")
        except (ValueError, RecursionError):
            raise ConfigError(f"--input {name}: not JSON of type {kinds[name]!r}") from None
    return found
