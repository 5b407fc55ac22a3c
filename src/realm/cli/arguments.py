"""The options that several commands share, and the parsing of their values."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import get_args

from realm.config import CachePrecision, EngineConfig
from realm.errors import ConfigError


def add_model_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """--model, --models-directory."""
    parser.add_argument(
        "--model",
        "-m",
        required=required,
        metavar="NAME|PATH",
        help="a catalog name (smollm2, gemma3-270m), a reference (hf:, package:, path:) or a file",
    )
    add_directory_argument(parser)


def add_directory_argument(parser: argparse.ArgumentParser) -> None:
    """--models-directory."""
    parser.add_argument(
        "--models-directory",
        type=Path,
        metavar="FOLDER",
        help="where model files are kept ($REALM_HOME/models or ~/.cache/realm/models)",
    )


def add_actions(
    parser: argparse.ArgumentParser, actions: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """A command's actions, each with its parser. actions: names and what they do."""
    parsers = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, summary in actions:
        yield name, parsers.add_parser(name, help=summary, description=summary)


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """--threads."""
    parser.add_argument(
        "--threads",
        type=whole_number(0),
        default=0,
        metavar="N",
        help="size of the thread team; 0 takes every processor",
    )


def add_cache_precision_argument(parser: argparse.ArgumentParser) -> None:
    """--cache-precision."""
    parser.add_argument(
        "--cache-precision",
        choices=get_args(CachePrecision),
        default=EngineConfig().cache_precision,
        help="of keys and values; int8 takes little more than half of the memory (float16)",
    )


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")


def add_sampling_arguments(parser: argparse.ArgumentParser, *, max_tokens: int) -> None:
    """--max-tokens, the sampling policy, --seed, --stop, --draft-k."""
    group = parser.add_argument_group("generation")
    group.add_argument("--max-tokens", type=whole_number(1), default=max_tokens, metavar="N")
    group.add_argument(
        "--temperature", type=float, default=0.7, help="0 takes the most likely token (0.7)"
    )
    group.add_argument(
        "--top-p", type=float, default=0.9, help="keep this much probability mass (0.9)"
    )
    group.add_argument(
        "--top-k", type=whole_number(0), default=0, help="keep the k most likely; 0 keeps all"
    )
    group.add_argument(
        "--min-p", type=float, default=0.0, help="drop what is less likely than this share (0)"
    )
    group.add_argument(
        "--typical-p",
        type=float,
        default=1.0,
        help="keep this much mass of the tokens that are typical (1)",
    )
    group.add_argument(
        "--repetition-penalty",
        type=float,
        default=1.0,
        help="divides the logits of seen tokens (1)",
    )
    group.add_argument("--presence-penalty", type=float, default=0.0, help="(0)")
    group.add_argument("--frequency-penalty", type=float, default=0.0, help="(0)")
    group.add_argument(
        "--seed", type=whole_number(0), help="fixes the draws; a new one each time when left out"
    )
    group.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end here; may be repeated"
    )
    group.add_argument(
        "--draft-k",
        type=whole_number(0),
        metavar="K",
        help="most drafted tokens of a step, 0 for none; the text is the same",
    )


def add_constraint_arguments(parser: argparse.ArgumentParser) -> None:
    """--json-schema, --regex, --grammar, --logit-bias, --logprobs."""
    group = parser.add_argument_group("output").add_mutually_exclusive_group()
    group.add_argument(
        "--json-schema", metavar="JSON|@FILE", help="the answer satisfies this JSON schema"
    )
    group.add_argument("--regex", metavar="REGEX", help="the whole answer matches this")
    group.add_argument(
        "--grammar", metavar="LARK|@FILE", help="the answer is a sentence of this grammar"
    )
    parser.add_argument(
        "--logit-bias",
        type=_token_bias,
        action="append",
        default=[],
        metavar="ID=VALUE",
        help="added to a token's logit; may be repeated",
    )
    parser.add_argument(
        "--logprobs",
        type=whole_number(0),
        metavar="N",
        help="with --json: log probabilities of each token and of the N most likely ones",
    )


def text_or_file(value: str | None) -> str | None:
    """What stands in the file for @FILE, else the text itself. Raises ConfigError."""
    if value is None or not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{value[1:]} cannot be read as UTF-8 text: {error}") from error


def _token_bias(text: str) -> tuple[int, float]:
    token, _, value = text.partition("=")
    try:
        return int(token), float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not ID=VALUE") from None


def whole_number(minimum: int) -> Callable[[str], int]:
    """An argparse type: a whole number of at least `minimum`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < minimum:
            raise argparse.ArgumentTypeError(f"must be at least {minimum}, not {value}")
        return value

    return parse
