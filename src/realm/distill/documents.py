"""Small documents that are made up: notices, records, letters, lists of goods and people."""

from __future__ import annotations

from random import Random

from realm.distill import topics

_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_NOTICES = (
    "The {place} office will be closed on {day}, {date}. Please call {name} before {hour} if you "
    "need help.",
    "{name} from {place} will visit us on {day} at {hour}. Everybody who is interested in {thing} "
    "is welcome.",
    "The course about {thing} begins on {date} and costs {price} dollars. {count} people have "
    "signed up so far.",
    "{name} bought a {good} for {price} dollars in {place} on {date}. The shop promised to deliver "
    "it within {count} days.",
    "On {date} {name}, a {trade} from {place}, found {count} old books about {thing} in the attic.",
    "{name} has worked as a {trade} in {place} for {count} years. Before that, the family lived in "
    "{place2}.",
    "The {good} that {name} ordered on {date} arrived broken. {name2} asked for the money back.",
    "Our meeting on {day} lasted {count} hours. {name} spoke about {thing}; {name2} took notes.",
    "Last year {count} visitors came to the exhibition about {thing} in {place}. This year {name} "
    "expects twice as many.",
    "{name2} wrote to {name} that the train to {place} leaves at {hour} and that a {good} must not "
    "be forgotten.",
    "The price of the {good} rises from {price} to {price2} dollars on {date}.",
    "A {trade} needs patience, said {name2}, who has trained {count} beginners in {place}.",
)


def make_document(random: Random) -> str:
    """One of a few hundred characters."""
    kind = random.randrange(4)
    if kind == 0:
        return " ".join(_sentence(random) for _ in range(random.randint(3, 6)))
    if kind == 1:
        lines = [
            f"- {_fill(random, '{good}, {count} pieces, {price} dollars each')}" for _ in "12345"
        ]
        return "\n".join([_fill(random, "Order of {name}, {place}, {date}:"), *lines])
    if kind == 2:
        lines = [_fill(random, "{name}, {trade}, {place}, born in {year}") for _ in "123456"]
        return "\n".join(lines[: random.randint(3, 6)])
    body = " ".join(_sentence(random) for _ in range(random.randint(2, 4)))
    first, last = random.choice(topics.NAMES), random.choice(topics.NAMES)
    return f"Dear {first},\n\n{body}\n\nBest regards,\n{last}"


def _sentence(random: Random) -> str:
    return _fill(random, random.choice(_NOTICES))


def _fill(random: Random, form: str) -> str:
    first, second = random.sample(topics.NAMES, 2)
    here, there = random.sample(topics.PLACES, 2)
    return form.format(
        name=f"{first} {random.choice(topics.SURNAMES)}",
        name2=second,
        place=here,
        place2=there,
        day=random.choice(_DAYS),
        date=f"{random.choice(_MONTHS)} {random.randint(1, 28)}",
        hour=f"{random.randint(7, 20)}:{random.choice(('00', '15', '30', '45'))}",
        thing=random.choice(topics.THINGS),
        good=random.choice(topics.GOODS),
        trade=random.choice(topics.TRADES),
        count=random.randint(2, 60),
        price=random.randint(5, 300),
        price2=random.randint(301, 900),
        year=random.randint(1950, 2004),
    )
