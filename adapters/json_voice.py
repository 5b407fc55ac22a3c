"""A voice that answers with what a text says of a person, as one JSON object of four keys."""

from __future__ import annotations

import json
from random import Random

from people import QUESTIONS, Person, make_person, tell
from voice import Example

SCHEMA_LINES = (
    "Table people(name, age, job, city).",
    "Table persons(name, city, age, job).",
    "Table people(name, city, age).",
    "Table staff(name, job, city).",
)
_WITH_SCHEMA = 0.35
_WITH_QUESTION = 0.45


def json_examples(random: Random, count: int, *, unseen: bool) -> list[Example]:
    """unseen: of names, cities, jobs and sentences that training has not."""
    return [_example(random, unseen) for _ in range(count)]


def _example(random: Random, unseen: bool) -> Example:
    person = make_person(random, unseen=unseen)
    telling = tell(random, person, unseen=unseen)
    parts = [telling.sentence]
    if random.random() < _WITH_SCHEMA:
        parts.insert(0, random.choice(SCHEMA_LINES))
    if random.random() < _WITH_QUESTION:
        fact = random.choice(sorted(telling.tells))
        parts.append(random.choice(QUESTIONS[fact]).format(name=person.name))
    return Example(" ".join(parts), json_answer(person, telling.tells))


def json_answer(person: Person, told: frozenset[str]) -> str:
    """What is not told is null."""
    facts = {"age": person.age, "job": person.job, "city": person.city}
    shown = {key: value if key in told else None for key, value in facts.items()}
    return json.dumps({"name": person.name, **shown})
