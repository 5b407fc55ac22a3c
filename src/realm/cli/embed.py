"""`realm embed`: texts as vectors."""

from __future__ import annotations

import argparse

import numpy as np

from realm.cli.arguments import add_engine_arguments, add_json_argument, add_model_arguments
from realm.cli.context import Context
from realm.cli.model_file import find_model_file
from realm.cli.presentation import format_rows, print_json
from realm.config import EngineConfig, ModelConfig

_SHOWN_VALUES = 6


def configure(parser: argparse.ArgumentParser) -> None:
    """See `realm.cli.main.Command`."""
    add_model_arguments(parser)
    parser.add_argument(
        "--text", action="append", required=True, metavar="TEXT", help="may be repeated"
    )
    parser.add_argument(
        "--pooling",
        choices=("mean", "last"),
        default="mean",
        help="the mean of all tokens' vectors, or the last token's (mean)",
    )
    parser.add_argument(
        "--no-normalize", action="store_true", help="keep the length instead of scaling it to 1"
    )
    add_engine_arguments(parser)
    add_json_argument(parser)


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """See `realm.cli.main.Command`."""
    path = find_model_file(arguments, context)
    configuration = ModelConfig(path)
    with context.open_runtime(EngineConfig(threads=arguments.threads)) as runtime:
        runtime.get_or_create_runtime_with_model("embedding", configuration)
        model = runtime.models[configuration.name]
        token_ids = [model.tokenizer.encode(text) for text in arguments.text]
        vectors = [
            model.embed_text(ids, arguments.pooling, not arguments.no_normalize)
            for ids in token_ids
        ]
    if arguments.json:
        document = {
            "embeddings": [vector.tolist() for vector in vectors],
            "token_counts": [len(ids) for ids in token_ids],
            "pooling": arguments.pooling,
            "normalized": not arguments.no_normalize,
        }
        print_json(document, context.stdout)
        return 0
    rows = [("tokens", "cosine to the first", f"first of {len(vectors[0])} values", "text")]
    for text, ids, vector in zip(arguments.text, token_ids, vectors, strict=True):
        values = " ".join(f"{value:+.4f}" for value in vector[:_SHOWN_VALUES])
        rows.append((str(len(ids)), f"{_cosine(vectors[0], vector):.4f}", values, text))
    context.stdout.write(format_rows(rows))
    return 0


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(np.dot(one, other)) / lengths if lengths > 0.0 else 0.0
