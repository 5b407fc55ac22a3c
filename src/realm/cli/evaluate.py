"""`realm eval perplexity`: how well a model predicts a text file."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from realm.cli.arguments import (
    add_cache_precision_argument,
    add_engine_arguments,
    add_json_argument,
    add_model_arguments,
    whole_number,
)
from realm.cli.context import Context
from realm.cli.model_file import find_model_file
from realm.cli.perplexity import measure_perplexity, text_windows
from realm.cli.presentation import print_json
from realm.config import EngineConfig, ModelConfig
from realm.errors import ConfigError


def configure(parser: argparse.ArgumentParser) -> None:
    """See `realm.cli.main.Command`."""
    measures = parser.add_subparsers(dest="measure", required=True, metavar="MEASURE")
    summary = "perplexity of a text file, in windows that do not overlap"
    perplexity = measures.add_parser("perplexity", help=summary, description=summary)
    add_model_arguments(perplexity)
    perplexity.add_argument("--file", type=Path, required=True, help="UTF-8 text")
    perplexity.add_argument(
        "--context", type=whole_number(2), default=512, metavar="N", help="tokens a window (512)"
    )
    perplexity.add_argument(
        "--max-windows", type=whole_number(1), metavar="N", help="stop after this many windows"
    )
    add_cache_precision_argument(perplexity)
    add_engine_arguments(perplexity)
    add_json_argument(perplexity)


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """See `realm.cli.main.Command`."""
    text = _read_text(arguments.file)
    path = find_model_file(arguments, context)
    configuration = ModelConfig(path)
    with context.open_runtime(EngineConfig(threads=arguments.threads)) as runtime:
        runtime.get_or_create_runtime_with_model("evaluation", configuration)
        model = runtime.models[configuration.name]
        tokenizer = model.tokenizer
        token_ids = tokenizer.encode(text, add_special=False)
        bos_id = tokenizer.bos_id if tokenizer.add_bos else None
        windows = list(text_windows(token_ids, arguments.context, bos_id))
        windows = windows[: arguments.max_windows]
        report = _Report(context, len(windows), silent=arguments.json)
        try:
            logits = partial(model.logits, cache_precision=arguments.cache_precision)
            result = measure_perplexity(logits, windows, report)
        finally:
            report.close()
    if arguments.json:
        document = {"perplexity": result.perplexity, "tokens": result.tokens}
        details = {"model": str(path), "file": str(arguments.file), "windows": len(windows)}
        print_json({**document, **details, "context": arguments.context}, context.stdout)
    else:
        print(
            f"perplexity {result.perplexity:.4f} over {result.tokens} tokens", file=context.stdout
        )
    return 0


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as UTF-8 text: {error}") from error


class _Report:
    """Says on a terminal how many windows are done."""

    def __init__(self, context: Context, windows: int, *, silent: bool) -> None:
        self._stream = context.stderr
        self._windows = windows
        self._shown = not silent and context.stderr.isatty()

    def __call__(self, done: int) -> None:
        if self._shown:
            self._stream.write(f"\rwindow {done} of {self._windows}")
            self._stream.flush()

    def close(self) -> None:
        if self._shown:
            self._stream.write("\r\x1b[K")
