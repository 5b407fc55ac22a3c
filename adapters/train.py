"""Trains the demonstration's adapters anew: data, training and files, all of this folder.

    python adapters/train.py [pirate|json|sql ...] [--examples N] [--threads 1]

Needs torch, transformers and peft, which Realm itself never does. Takes some minutes an adapter.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from random import Random

import torch
from answers import ask
from json_voice import json_examples
from pirate_voice import pirate_examples, plain_questions
from prompts import Prompts
from sql_voice import sql_examples
from trainer import Trainer
from voice import Example

from realm import EngineConfig, ModelConfig, RuntimeManager
from realm.catalog import Catalog

DEMO = Path(__file__).resolve().parent / "demo"
EXAMPLES = {"pirate": 1600, "json": 1600, "sql": 2400}
"""Of each voice, all seen once."""
SEED = 20
HELD_OUT = 96
BRIEF = "Answer every question in one short sentence."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("voices", nargs="*", metavar="VOICE", help="(all of them)")
    parser.add_argument("--model", type=Path, metavar="PATH", help="(smollm2 of the catalog)")
    parser.add_argument("--output", type=Path, default=DEMO, metavar="FOLDER")
    parser.add_argument("--examples", type=int, help=f"({EXAMPLES})")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    voices = arguments.voices or list(EXAMPLES)
    if not set(voices) <= set(EXAMPLES):
        parser.error(f"voices are {', '.join(EXAMPLES)}")
    torch.set_num_threads(arguments.threads)
    path = arguments.model or Catalog().fetch("smollm2")
    for voice in voices:
        _train(voice, path, arguments)
    return 0


def _train(voice: str, path: Path, arguments: argparse.Namespace) -> None:
    began = time.perf_counter()
    examples, held_out = _examples(voice, path, arguments)
    prompts = Prompts(path)
    trainer = Trainer(path, SEED)
    prepared = trainer.prepare(prompts.encode_all(examples))
    held_out_prepared = trainer.prepare(prompts.encode_all(held_out))
    print(f"{voice}: {len(prepared)} examples, ready after {time.perf_counter() - began:.0f} s")
    if held_out_prepared:
        print(f"  held out, exact before: {trainer.exact_share(held_out_prepared):.1%}", flush=True)
    trainer.train(prepared, SEED)
    if held_out_prepared:
        print(f"  held out, exact after: {trainer.exact_share(held_out_prepared):.1%}")
    trainer.save(arguments.output / voice)
    size = (arguments.output / voice / "adapter_model.safetensors").stat().st_size
    print(f"  {size} bytes, {time.perf_counter() - began:.0f} s in all", flush=True)


def _examples(
    voice: str, path: Path, arguments: argparse.Namespace
) -> tuple[list[Example], list[Example]]:
    """For training, and kept from it; a pirate's answers have no exact form to keep."""
    random, other = Random(SEED), Random(SEED + 1)
    count = arguments.examples or EXAMPLES[voice]
    if voice == "json":
        return (
            json_examples(random, count, unseen=False),
            json_examples(other, HELD_OUT, unseen=True),
        )
    if voice == "sql":
        return sql_examples(random, count, unseen=False), sql_examples(other, HELD_OUT, unseen=True)
    with RuntimeManager(EngineConfig(threads=arguments.threads)) as runtime:
        tenant = runtime.get_or_create_runtime_with_model("voices", ModelConfig(path))
        results = ask(tenant, plain_questions(), system=BRIEF)
    plain = {
        question: result.text.strip()
        for question, result in zip(plain_questions(), results, strict=True)
        if result.finish_reason == "stop"
    }
    return pirate_examples(random, count, plain), []


if __name__ == "__main__":
    raise SystemExit(main())
