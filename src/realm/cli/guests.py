"""`realm guests new|build|check|run`: write, build, check and try a tenant's program."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import asdict, fields
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.cli.arguments import (
    add_constraint_arguments,
    add_engine_arguments,
    add_json_argument,
    add_model_arguments,
    add_sampling_arguments,
)
from realm.cli.context import Context
from realm.cli.guest_compiler import compile_guest, sdk_directory
from realm.cli.model_file import find_model_file
from realm.cli.presentation import format_bytes, format_rows, print_json
from realm.cli.run import generation_keywords, result_document, statistics_line
from realm.config import EngineConfig, ModelConfig
from realm.errors import ConfigError, GuestCompileError
from realm.runtime import GenerationResult, GuestLimits, HostLimits
from realm.runtime.component_contract import is_component
from realm.runtime.module_cache import default_module_cache
from realm.runtime.program import GuestHost
from realm.runtime.program_report import ProgramReport, report_program

if TYPE_CHECKING:
    from collections.abc import Sequence

_TENANT = "command-line"
_PROGRAM = "program.wasm"
_CHECK_GUESTS = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """See `realm.cli.main.Command`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="start a program in C", description="start a program in C")
    new.add_argument("folder", type=Path, help="made, or empty")
    build = actions.add_parser("build", help="compile C to a program")
    build.add_argument("sources", type=Path, nargs="+", help="C files, or a folder of them")
    build.add_argument(
        "--output", "-o", type=Path, metavar="FILE", help=f"({_PROGRAM} beside them)"
    )
    build.add_argument("--wide", action="store_true", help="64-bit addresses (wasm64)")
    check = actions.add_parser("check", help="compare a program with the contract")
    check.add_argument("program", type=Path, help="a WASM module")
    run = actions.add_parser("run", help="one request through a program")
    run.add_argument("program", type=Path, help="a WASM module")
    add_model_arguments(run)
    run.add_argument("--prompt", "-p", metavar="TEXT", required=True)
    run.add_argument("--chat", action="store_true", help="send the prompt as a user's message")
    run.add_argument(
        "--limit",
        type=_limit,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"of the program; may be repeated: {', '.join(_limit_names())}",
    )
    add_sampling_arguments(run, max_tokens=256)
    add_constraint_arguments(run)
    add_engine_arguments(run)
    run.set_defaults(direct=False)
    for action in (new, build, check, run):
        add_json_argument(action)


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """See `realm.cli.main.Command`."""
    if arguments.action == "new":
        return _new(arguments, context)
    if arguments.action == "build":
        return _build(arguments, context)
    if arguments.action == "check":
        return _check(arguments, context)
    return _run(arguments, context)


def _new(arguments: argparse.Namespace, context: Context) -> int:
    folder: Path = arguments.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"{folder} is not empty")
        files = [shutil.copy(path, folder) for path in sorted(_template().iterdir())]
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made: {error}") from error
    if arguments.json:
        print_json({"folder": str(folder), "files": [str(path) for path in files]}, context.stdout)
    else:
        print(f"{', '.join(map(str, files))}\nrealm guests build {folder}", file=context.stdout)
    return 0


def _template() -> Path:
    return sdk_directory() / "template"


def _build(arguments: argparse.Namespace, context: Context) -> int:
    sources = _sources(arguments.sources)
    output: Path = arguments.output or sources[0].parent / _PROGRAM
    try:
        compile_guest([path.resolve() for path in sources], output.resolve(), wide=arguments.wide)
    except GuestCompileError as error:
        print(f"error: {error}", file=context.stderr)  # the compiler's words, line by line
        return 1
    size = output.stat().st_size
    if arguments.json:
        print_json({"path": str(output), "size_bytes": size}, context.stdout)
    else:
        print(f"{output}: {format_bytes(size)}", file=context.stdout)
    return 0


def _sources(named: Sequence[Path]) -> list[Path]:
    sources = []
    for path in named:
        found = sorted(path.glob("*.c")) if path.is_dir() else [path]
        if not found or not found[0].is_file():
            raise ConfigError(f"{path} is no C file, nor a folder of C files")
        sources += found
    return sources


def _check(arguments: argparse.Namespace, context: Context) -> int:
    report = report_program(_host(), _read(arguments.program))
    limits = GuestLimits()
    if arguments.json:
        document = {"program": str(arguments.program), **asdict(report)}
        print_json(
            {**document, "fits": not report.problems, "limits": asdict(limits)}, context.stdout
        )
    else:
        context.stdout.write(_describe(report, limits))
    return 1 if report.problems else 0


def _host() -> GuestHost:
    """A pool for nobody: programs are compiled for the limits that a runtime has of itself."""
    limits = HostLimits(guest_count=_CHECK_GUESTS, components=_CHECK_GUESTS)
    return GuestHost(limits, cache=default_module_cache())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise GuestCompileError(f"{path} cannot be read: {error}") from error


def _describe(report: ProgramReport, limits: GuestLimits) -> str:
    most = limits.memory_bytes
    if report.memory_maximum_bytes is not None:
        most = min(most, report.memory_maximum_bytes)
    start = "" if report.is_component else f"{format_bytes(report.memory_bytes)} at the start, "
    memory = f"{start}{format_bytes(most)} at most"
    kind = "component" if report.is_component else "module"
    rows = [
        (kind, f"{format_bytes(report.size_bytes)}, wasm{report.address_bits}"),
        ("memory", memory),
        ("imports", ", ".join(report.imports) or "none"),
        ("exports", ", ".join(report.exports) or "none"),
        ("limits", ", ".join(f"{name}={value}" for name, value in asdict(limits).items())),
    ]
    verdict = [("problem", problem) for problem in report.problems] or [("fits", "yes")]
    return format_rows([*rows, *verdict], indent="")


def _run(arguments: argparse.Namespace, context: Context) -> int:
    program = _read(arguments.program)
    try:
        limits = GuestLimits(**dict(arguments.limit))
    except TypeError as error:
        raise ConfigError(f"--limit: {error}") from None
    path = find_model_file(arguments, context)
    prompt = arguments.prompt
    request: dict[str, Any] = (
        {"messages": [{"role": "user", "content": prompt}]}
        if arguments.chat
        else {"prompt": prompt}
    )
    engine = EngineConfig(threads=arguments.threads)
    # Whoever tries a component means it to run.
    host_limits = HostLimits(components=_CHECK_GUESTS) if is_component(program) else None
    with context.open_runtime(
        engine, program=program, limits=limits, host_limits=host_limits
    ) as runtime:
        tenant = runtime.get_or_create_runtime_with_model(_TENANT, ModelConfig(path))
        if arguments.json:
            result = tenant.generate(**request, **generation_keywords(arguments))
            document = {**result_document(result), "response": _response(result)}
            print_json(document, context.stdout)
            return 0
        stream = tenant.stream(**request, **generation_keywords(arguments))
        for piece in stream:
            context.stdout.write(piece.text)
            context.stdout.flush()
        context.stdout.write("\n")
        response = _response(stream.result)
        if response is not None:
            print(f"response: {response}", file=context.stderr)
        print(statistics_line(stream.result), file=context.stderr)
    return 0


def _response(result: GenerationResult) -> str | None:
    """The program's response as text; one that is no text by its size."""
    if result.response is None:
        return None
    try:
        return result.response.decode()
    except UnicodeDecodeError:
        return f"{len(result.response)} bytes"


def _limit_names() -> list[str]:
    return [field.name for field in fields(GuestLimits)]


def _limit(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    if name not in _limit_names():
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(_limit_names())}")
    try:
        number = float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} is not a number") from None
    if number.is_integer():
        return name, int(number)
    if not isfinite(number) or isinstance(getattr(GuestLimits(), name), int):
        raise argparse.ArgumentTypeError(f"{name} cannot be {value}")
    return name, number
