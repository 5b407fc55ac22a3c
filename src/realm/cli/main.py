"""Finds the command's module, parses its arguments, runs it, and turns errors into exit codes.

0: done. 1: a RealmError, told in one line. 2: wrong usage. 130: interrupted (Ctrl-C).
A command's module is imported only when it is called: `realm run` must start in milliseconds.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from realm.cli.context import Context, standard_context
from realm.errors import RealmError

COMMANDS = {
    "run": ("realm.cli.run", "generate text, once or as a chat"),
    "demo": ("realm.cli.demo", "fetch a small model, ask it, and show where the time goes"),
    "bench": ("realm.cli.bench", "measure speed: decode, prefill, many tenants"),
    "eval": ("realm.cli.evaluate", "measure a model's quality (perplexity)"),
    "embed": ("realm.cli.embed", "turn texts into vectors"),
    "info": ("realm.cli.info", "describe a model file and this machine"),
    "serve": ("realm.cli.serve", "serve models over HTTP and WebSocket, for many tenants"),
    "guests": ("realm.cli.guests", "write, build, check and try a tenant's program"),
    "models": ("realm.cli.models", "fetch, list, verify and remove model files"),
    "adapters": ("realm.cli.adapters", "add, list, show and remove adapters (LoRA)"),
    "tenants": ("realm.cli.tenants", "add, list, show, change and remove the server's tenants"),
    "keys": ("realm.cli.keys", "create, list, disable, enable and remove the server's keys"),
    "pipelines": ("realm.cli.pipelines", "check, list, show and run pipelines of generations"),
    "distill": ("realm.cli.distill", "train a small draft model for another model"),
    "version": ("realm.cli.version", "print the version"),
}

_FAILED, _USAGE, _INTERRUPTED, _PIPE_CLOSED = 1, 2, 130, 141


class Command(Protocol):
    """What a command's module offers."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments."""

    def execute(self, arguments: argparse.Namespace, context: Context) -> int:
        """Do it; the exit code."""


def main(argv: Sequence[str] | None = None, context: Context | None = None) -> int:
    """Run one command and return its exit code; `argv` leaves the program's name out."""
    words = list(sys.argv[1:] if argv is None else argv)
    context = context or standard_context()
    try:
        return _run(words, context)
    except SystemExit as exit_request:  # argparse, after it printed help or what is wrong
        return exit_request.code if isinstance(exit_request.code, int) else _USAGE
    except RealmError as error:
        print(f"error: {' '.join(str(error).split())}", file=context.stderr)
        return _FAILED
    except KeyboardInterrupt:
        print(file=context.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output is gone: nothing may be flushed to it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED


def _run(words: list[str], context: Context) -> int:
    if not words:
        context.stderr.write(_overview())
        return _USAGE
    name = words[0]
    if name in ("-h", "--help", "help"):
        context.stdout.write(_overview())
        return 0
    if name == "--version":
        name = "version"
    if name not in COMMANDS:
        print(f"error: no command {name!r}: one of {', '.join(COMMANDS)}", file=context.stderr)
        return _USAGE
    module_name, summary = COMMANDS[name]
    command = cast(Command, importlib.import_module(module_name))
    parser = argparse.ArgumentParser(prog=f"realm {name}", description=summary)
    command.configure(parser)
    code = command.execute(parser.parse_args(words[1:]), context)
    context.stdout.flush()
    return code


def _overview() -> str:
    lines = ["usage: realm COMMAND [options]", "", "commands:"]
    lines += [f"  {name:9} {summary}" for name, (_, summary) in COMMANDS.items()]
    lines += ["", "`realm COMMAND --help` shows a command's options.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
