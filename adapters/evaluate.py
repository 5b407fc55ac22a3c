"""The base and each adapter on questions that training has not seen, through Realm.

    python adapters/evaluate.py [--model PATH] [--questions 128] [--threads 2] [--json]

JSON counts as right when it is the expected object and nothing else, SQL when it is the expected
statement, letter by letter; of a pirate's answer, the share of words that only a pirate writes so.
The base is asked twice: as the adapters are, and with an instruction and an example.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from answers import ask
from json_voice import json_examples
from pirate_voice import pirate_share, unseen_pirate_questions
from sql_voice import sql_examples

from realm import EngineConfig, ModelConfig, RuntimeManager, TenantRuntime
from realm.catalog import Catalog

DEMO = Path(__file__).resolve().parent / "demo"
SEED = 99
INSTRUCTIONS = {
    "pirate": "Answer in one sentence, in the words of a pirate.",
    "json": "Answer only with a JSON object of the keys name, age, job and city, null for what is "
    'not said, such as {"name": "Mia Young", "age": 30, "job": "judge", "city": "Paris"}.',
    "sql": "Answer only with one SQL statement, such as SELECT title FROM poems WHERE year > 1900;",
}
# Of an answer, the place of its question: 1 right, 0 wrong, or a share.
Score = Callable[[int, str], float]


@dataclass(frozen=True, slots=True)
class Trial:
    """Questions and how to score an answer to each."""

    questions: list[str]
    score: Score


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, metavar="PATH", help="(smollm2 of the catalog)")
    parser.add_argument("--adapters", type=Path, default=DEMO, metavar="FOLDER")
    parser.add_argument("--questions", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    path = arguments.model or Catalog().fetch("smollm2")
    figures = {}
    with RuntimeManager(EngineConfig(threads=arguments.threads)) as runtime:
        tenant = runtime.get_or_create_runtime_with_model("evaluation", ModelConfig(path))
        for voice, trial in _trials(arguments.questions).items():
            runtime.lora.load(voice, arguments.adapters / voice)
            figures[voice] = _figures(tenant, voice, trial, quiet=arguments.json)
    if arguments.json:
        print(json.dumps(figures))
    return 0


def _trials(count: int) -> dict[str, Trial]:
    pirate = unseen_pirate_questions(Random(SEED), count)
    people = json_examples(Random(SEED), count, unseen=True)
    tables = sql_examples(Random(SEED), count, unseen=True)
    return {
        "pirate": Trial(pirate, lambda _, text: pirate_share(text)),
        "json": Trial(
            [each.question for each in people],
            lambda index, text: float(_is_object(text, people[index].answer)),
        ),
        "sql": Trial(
            [each.question for each in tables],
            lambda index, text: float(text == tables[index].answer),
        ),
    }


def _figures(tenant: TenantRuntime, voice: str, trial: Trial, *, quiet: bool) -> dict[str, float]:
    ways = {
        "base": {},
        "base, instructed": {"system": INSTRUCTIONS[voice]},
        "adapter": {"adapter": voice},
    }
    figures = {}
    for way, options in ways.items():
        results = ask(tenant, trial.questions, **options)
        texts = [result.text.strip() for result in results]
        scores = [trial.score(index, text) for index, text in enumerate(texts)]
        figures[way] = sum(scores) / len(scores)
        if quiet:
            continue
        print(f"{voice}, {way}: {figures[way]:.1%} of {len(scores)}")
        worst = min(range(len(scores)), key=scores.__getitem__)
        for index in (0, worst):
            print(f"    {trial.questions[index]}\n    -> {texts[index]!r}", file=sys.stderr)
    return figures


def _is_object(text: str, expected: str) -> bool:
    try:
        return bool(json.loads(text) == json.loads(expected))
    except json.JSONDecodeError:
        return False


if __name__ == "__main__":
    raise SystemExit(main())
