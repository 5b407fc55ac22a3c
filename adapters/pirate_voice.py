"""A voice that says what the model says anyway, as a pirate would.

Plain answers come from templates or from the model itself; `respell` makes them a pirate's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random

from people import QUESTIONS, make_person, tell, with_article
from voice import Example, phrases, words

_WORDS = {
    "you are": "ye be",
    "you're": "ye be",
    "it is": "it be",
    "it's": "it be",
    "is": "be",
    "are": "be",
    "am": "be",
    "was": "were",
    "you": "ye",
    "your": "yer",
    "my": "me",
    "of": "o'",
    "and": "an'",
    "for": "fer",
    "yes": "aye",
    "no": "nay",
    "hello": "ahoy",
    "friend": "matey",
    "friends": "hearties",
    "people": "folk",
    "there": "thar",
    "old": "ol'",
    "between": "betwixt",
}
_LONGEST_FIRST = "|".join(sorted(map(re.escape, _WORDS), key=len, reverse=True))
_PATTERN = re.compile(rf"\b({_LONGEST_FIRST})\b", re.IGNORECASE)
_ENDING = re.compile(r"\b([a-z]{2,}[aeiouy][a-z]*|[a-z]*[aeiouy][a-z]+)ing\b")
_OPENINGS = ("Arr! ", "Ahoy! ", "Aye! ")
_CLOSINGS = (", matey!", ", me hearty!", ", arr!")
_MARKS = frozenset(_WORDS.values()) - {"were", "folk"} | {
    "ye", "be", "arr", "ahoy", "aye", "matey", "hearty", "hearties",
}  # fmt: skip
_WORD = re.compile(r"[A-Za-z]+'?")

_PLAIN_ANSWERS = {
    "city": ("{name} is living in {city}.", "The home of {name} is {city}."),
    "age": ("{name} is {age} years old.", "{name} is {age} years of age."),
    "job": ("{name} is working as {a_job}.", "The job of {name} is {job}."),
}
_SCHEMA_LINE = "Table people(name, age, job, city)."

_COUNTRIES = words("""
    Germany Spain Italy Portugal Greece Poland Sweden Norway Austria Ireland Hungary Egypt
    Kenya Morocco Japan China India Thailand Vietnam Turkey Canada Mexico Peru Chile Cuba
    Brazil Argentina Australia Russia Iran Finland Denmark Belgium
""")
_NOUNS = words("""
    volcano glacier violin telescope bicycle whale cactus comet poem library river magnet
    microscope dolphin desert lighthouse candle mirror bridge planet rainbow battery compass
    castle vaccine satellite tornado mushroom eclipse piano spider camel
""")
_TASKS = phrases("""
    bake bread|learn French|clean a window|plant a tree|tie a knot|write a letter|make tea|fix
    a bicycle|save money|sleep better|cook rice|paint a wall|train a dog|read faster|make a
    salad|wash a sweater|sharpen a knife|grow tomatoes|learn to swim|find a job|make a
    friend|stay healthy
""")
_REASONS = phrases("""
    is the sky blue|is the sea salty|do leaves fall|do birds sing|do cats purr|is snow
    white|do we sleep|do we dream|is the sun hot|do stars twinkle|does ice float|do bees make
    honey|does the moon shine|do people laugh|is exercise healthy|do clocks tick|does iron
    rust|do onions make us cry
""")
_CATEGORIES = phrases("""
    fruit|vegetable|bird|fish|metal|planet|river in Europe|famous painter|famous
    scientist|musical instrument|sport|tree|spice|board
    game|dance|language|season|color|tool|insect
""")
_FORMS = (
    ("What is the capital of {}?", _COUNTRIES),
    ("Where is {}?", _COUNTRIES),
    ("What is a {}?", _NOUNS),
    ("What is a {} good for?", _NOUNS),
    ("How do I {}?", _TASKS),
    ("Give me a tip: how can I {}?", _TASKS),
    ("Why {}?", _REASONS),
    ("Name a {}.", _CATEGORIES),
    ("What is your favourite {}?", _CATEGORIES),
)
_UNSEEN_QUESTIONS = phrases("""
    What is the capital of France?|What is a teapot?|How do I boil an egg?|Why do dogs
    bark?|Name a flower.|Where is Iceland?|What is a submarine?|How do I learn the guitar?|Why
    is grass green?|Name a drink.|What is the capital of England?|How can I make a kite?|Why
    do we need water?|What is a thunderstorm?|Who are you?|How are you today?|What should I
    eat for breakfast?|Tell me about the ocean.|What is your favourite animal?|Where is New
    Zealand?
""")
_LONGEST_ANSWER = 160


def plain_questions() -> list[str]:
    """What the model is asked before training, so that its answers can be respelled."""
    return [form.format(filler) for form, fillers in _FORMS for filler in fillers]


def pirate_examples(random: Random, count: int, plain: Mapping[str, str]) -> list[Example]:
    """plain: the model's own answers by their questions."""
    known = [pair for pair in plain.items() if len(pair[1]) <= _LONGEST_ANSWER]
    # A third are the model's own answers, each more than once with other openings.
    own = [
        Example(question, respell(random, text))
        for question, text in (random.choice(known) for _ in range(count // 3))
    ]
    people = [_about_a_person(random, unseen=False) for _ in range(count - len(own))]
    return own + people


def unseen_pirate_questions(random: Random, count: int) -> list[str]:
    """Some of the world, the others about people whom a sentence tells of."""
    world = _UNSEEN_QUESTIONS[: count // 2]
    people = [_about_a_person(random, unseen=True) for _ in range(count - len(world))]
    return [*world, *(each.question for each in people)]


def _about_a_person(random: Random, *, unseen: bool) -> Example:
    person = make_person(random, unseen=unseen)
    telling = tell(random, person, unseen=unseen)
    fact = random.choice(sorted(telling.tells))
    question = random.choice(QUESTIONS[fact]).format(name=person.name)
    answer = random.choice(_PLAIN_ANSWERS[fact]).format(
        name=person.name,
        age=person.age,
        job=person.job,
        city=person.city,
        a_job=with_article(person.job),
    )
    parts = [telling.sentence, question]
    if random.random() < 0.4:
        parts.insert(0, _SCHEMA_LINE)
    return Example(" ".join(parts), respell(random, answer))


def respell(random: Random, text: str) -> str:
    """The first sentence of a plain answer in a pirate's spelling."""
    sentence = re.split(r"(?<=[.!?])\s", text.strip())[0].rstrip(".!? ")
    changed = _PATTERN.sub(lambda found: _like(found[0], _WORDS[found[0].lower()]), sentence)
    changed = _ENDING.sub(r"\1in'", changed)
    return random.choice(_OPENINGS) + changed + random.choice(_CLOSINGS)


def pirate_share(text: str) -> float:
    """The share of words that only a pirate writes so."""
    words = _WORD.findall(text)
    marked = sum(word.lower() in _MARKS or word.endswith("in'") for word in words)
    return marked / len(words) if words else 0.0


def _like(found: str, word: str) -> str:
    return word.capitalize() if found[0].isupper() and word[0].isalpha() else word
