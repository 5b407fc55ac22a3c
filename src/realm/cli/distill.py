"""`realm distill`: a small draft model, trained on what a model says itself."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from realm.cli.arguments import (
    add_engine_arguments,
    add_json_argument,
    add_model_arguments,
    whole_number,
)
from realm.cli.context import Context
from realm.cli.model_file import find_model_file
from realm.cli.presentation import format_bytes, print_json
from realm.config import EngineConfig
from realm.errors import NotSupportedError

if TYPE_CHECKING:
    from realm.distill.distill import Distilled, Progress

_NEEDED = ("torch", "gguf")
_SECONDS = 10.0
_BLOCK_TYPES = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "F16", "F32")


def configure(parser: argparse.ArgumentParser) -> None:
    """See `realm.cli.main.Command`."""
    add_model_arguments(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="PATH", help="the draft")
    data = parser.add_argument_group("what the model says")
    data.add_argument(
        "--tokens", type=whole_number(1), default=2_000_000, metavar="N", help="in all (2,000,000)"
    )
    data.add_argument(
        "--answer-tokens", type=whole_number(2), default=320, metavar="N", help="an answer (320)"
    )
    data.add_argument(
        "--at-once", type=whole_number(1), default=64, metavar="N", help="answers (64)"
    )
    data.add_argument(
        "--temperature", type=float, default=0.8, help="of the answers that are sampled (0.8)"
    )
    data.add_argument(
        "--greedy-share", type=float, default=0.6, help="of answers at temperature 0 (0.6)"
    )
    data.add_argument(
        "--own-share", type=float, default=0.6, help="of prompts that the model says itself (0.6)"
    )
    data.add_argument(
        "--corpus",
        type=Path,
        nargs="+",
        default=(),
        metavar="PATH",
        help="keep it here; read it when it is there; several are read",
    )
    draft = parser.add_argument_group("the draft")
    draft.add_argument(
        "--vocabulary", type=whole_number(2), default=6144, metavar="N", help="tokens (6144)"
    )
    draft.add_argument(
        "--from-layers",
        type=_layers,
        default=(0,),
        metavar="N,..",
        help="which of the model's layers each of the draft's begins as; -1 is the last (0)",
    )
    draft.add_argument(
        "--feature-layers",
        type=_layers,
        default=(),
        metavar="N,..",
        help="layers of the model of which the draft reads features, besides those of its head",
    )
    draft.add_argument(
        "--from-draft", type=Path, metavar="D", help="go on from this draft: its tokens and weights"
    )
    draft.add_argument(
        "--tied", action="store_true", help="the head is the token embedding: a smaller file"
    )
    draft.add_argument("--block-type", choices=_BLOCK_TYPES, default="Q4_1", help="(Q4_1)")
    draft.add_argument(
        "--embedding-block-type", choices=_BLOCK_TYPES, default="Q4_1", help="(Q4_1)"
    )
    training = parser.add_argument_group("training")
    training.add_argument("--passes", type=float, default=2.0, help="over all that was said (2)")
    training.add_argument(
        "--batch-tokens", type=whole_number(1), default=1024, metavar="N", help="a step (1024)"
    )
    training.add_argument("--learning-rate", type=float, default=2e-3, help="(0.002)")
    training.add_argument(
        "--precision",
        choices=("auto", "bfloat16", "float32"),
        default="auto",
        help="of products; auto: bfloat16 where the processor multiplies it",
    )
    parser.add_argument("--seed", type=whole_number(0), default=1, help="(1)")
    add_engine_arguments(parser)
    add_json_argument(parser)


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """See `realm.cli.main.Command`."""
    distilling = _import_distilling()
    options = distilling.Distilling(
        output=arguments.output,
        corpus=tuple(arguments.corpus),
        from_draft=arguments.from_draft,
        vocabulary=arguments.vocabulary,
        from_layers=arguments.from_layers,
        feature_layers=arguments.feature_layers,
        tied=arguments.tied,
        block_type=arguments.block_type,
        embedding_block_type=arguments.embedding_block_type,
        listening=distilling.Listening(
            tokens=arguments.tokens,
            answer_tokens=arguments.answer_tokens,
            at_once=arguments.at_once,
            greedy_share=arguments.greedy_share,
            own_share=arguments.own_share,
            temperature=arguments.temperature,
            seed=arguments.seed,
        ),
        training=distilling.Training(
            passes=arguments.passes,
            batch_tokens=arguments.batch_tokens,
            learning_rate=arguments.learning_rate,
            precision=arguments.precision,
            threads=EngineConfig(threads=arguments.threads).thread_count,
            seed=arguments.seed,
        ),
        threads=arguments.threads,
    )
    path = find_model_file(arguments, context)
    result = distilling.distill(path, options, _Report(context, silent=arguments.json))
    if arguments.json:
        print_json(result.as_dict(), context.stdout)
    else:
        context.stdout.write(_text(result, arguments.output))
    return 0


def _import_distilling() -> ModuleType:
    try:
        from realm.distill import distill  # noqa: PLC0415  (torch and gguf are optional)
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        raise NotSupportedError(
            f"distilling needs {error.name}, which is not installed: pip install torch gguf"
        ) from error
    return distill


def _text(result: Distilled, output: Path) -> str:
    lines = [
        f"taught {result.tokens:,} tokens of {result.texts:,} answers, "
        f"{result.known_share:.1%} of them known to the draft; loss {result.loss:.3f}"
    ]
    rows = (("held out", result.held_out), ("  at temperature 0", result.held_out_greedy))
    for name, found in rows:
        lengths = ", ".join(
            f"{length:.2f} of {k}" for k, length in enumerate(found.accepted_length, 1)
        )
        lines.append(
            f"{name}: agreement {found.agreement:.1%} of {found.places:,} tokens; "
            f"accepted {lengths}"
        )
    lines.append(f"written: {output} ({format_bytes(result.file_bytes)})")
    return "\n".join([*lines, ""])


def _layers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(each) for each in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not N or N,N,..") from None


class _Report:
    """A line of progress now and then, and when a stage begins or ends."""

    def __init__(self, context: Context, *, silent: bool) -> None:
        self._stream = context.stderr
        self._silent = silent
        self._began = self._shown = time.monotonic()
        self._steps: list[tuple[float, float]] = []

    def __call__(self, progress: Progress) -> None:
        if progress.loss is not None and progress.agreement is not None:
            self._steps.append((progress.loss, progress.agreement))
        now = time.monotonic()
        ended = progress.done == progress.total
        if self._silent or (now - self._shown < _SECONDS and not ended):
            return
        line = f"{progress.stage:9} {progress.done:,} of {progress.total:,}"
        if self._steps:
            loss, agreement = (
                sum(each) / len(self._steps) for each in zip(*self._steps, strict=True)
            )
            line += f"  loss {loss:.3f}  agreement {agreement:.1%}"
        self._stream.write(f"{line}  {now - self._began:.0f} s\n")
        self._stream.flush()
        self._shown = now
        self._steps.clear()
