"""A voice that answers a question about a table with one SQL statement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from people import QUESTIONS, make_person, tell
from voice import Example, words


@dataclass(frozen=True, slots=True)
class Table:
    """texts and numbers: its columns by what they hold; the first text names a row."""

    name: str
    texts: dict[str, tuple[str, ...]]
    numbers: tuple[str, ...]

    def schema(self, random: Random) -> str:
        """The line that comes before a question, its columns in any order but the first."""
        name, *others = [*self.texts, *self.numbers]
        random.shuffle(others)
        return f"Table {self.name}({', '.join([name, *others])})."


_COLOURS = words("red blue green black white yellow")
_COUNTRIES = words("Spain Japan Brazil Kenya Canada Italy India Norway Chile Egypt")
_TITLES = words("Horizon Winter Sunrise Echoes Harvest Gravity Orchard Marble")
_TABLES = (
    Table("cars", {"model": words("Corsa Fiesta Civic Golf Polo"), "color": _COLOURS},
          ("price", "year", "weight")),
    Table("books", {"title": _TITLES, "author": words("Orwell Woolf Tolstoy Borges"),
                    "language": words("English French German")}, ("pages", "year", "price")),
    Table("cities", {"name": words("Oslo Lima Rome Cairo"), "country": _COUNTRIES},
          ("population", "area")),
    Table("products", {"name": words("lamp chair desk kettle mirror"), "color": _COLOURS},
          ("price", "stock", "weight")),
    Table("students", {"name": words("Omar Nina Felix Clara"), "school": words("Eton Harrow")},
          ("age", "grade")),
    Table("songs", {"title": _TITLES, "artist": words("Adele Bowie Prince"),
                    "genre": words("jazz rock folk")}, ("length", "year")),
    Table("hotels", {"name": words("Plaza Astoria Bellevue"), "country": _COUNTRIES},
          ("rooms", "stars", "price")),
    Table("orders", {"customer": words("Lopez Meyer Khan Ward"),
                     "status": words("open paid shipped")}, ("total", "quantity")),
    Table("mountains", {"name": words("Elbrus Denali Fuji"), "country": _COUNTRIES},
          ("height",)),
    Table("players", {"name": words("Diego Hugo Leon"), "team": words("Ajax Celtic Porto")},
          ("age", "goals", "salary")),
)  # fmt: skip
_UNSEEN_TABLES = (
    Table("films", {"title": words("Metropolis Nosferatu Vertigo Alien"),
                    "director": words("Lang Murnau Hitchcock Scott")}, ("length", "rating")),
    Table("rivers", {"name": words("Danube Nile Ganges"),
                     "continent": words("Europe Africa Asia")}, ("length", "depth")),
    Table("ships", {"name": words("Titanic Vasa Endeavour"), "owner": words("Maersk Cunard")},
          ("speed", "crew")),
)  # fmt: skip
_PEOPLE = {
    "people": ("name", "age", "job", "city"),
    "persons": ("name", "city", "age", "job"),
    "staff": ("name", "job", "city", "age"),
}
_ABOUT_PEOPLE = 0.3
_WITH_FACTS = 0.5


def sql_examples(random: Random, count: int, *, unseen: bool) -> list[Example]:
    """unseen: of tables, names and values that training has not."""
    return [
        _about_a_person(random, unseen)
        if random.random() < _ABOUT_PEOPLE
        else _about_a_table(random, random.choice(_UNSEEN_TABLES if unseen else _TABLES))
        for _ in range(count)
    ]


def _about_a_person(random: Random, unseen: bool) -> Example:
    """A statement asks the table, also where a sentence before the question knows the answer."""
    table = random.choice(list(_PEOPLE))
    person = make_person(random, unseen=unseen)
    fact = random.choice(list(QUESTIONS))
    parts = [f"Table {table}({', '.join(_PEOPLE[table])})."]
    if random.random() < _WITH_FACTS:
        parts.append(tell(random, person, unseen=unseen).sentence)
    parts.append(random.choice(QUESTIONS[fact]).format(name=person.name))
    return Example(" ".join(parts), f"SELECT {fact} FROM {table} WHERE name = '{person.name}';")


def _about_a_table(random: Random, table: Table) -> Example:
    question, statement = random.choice(_KINDS)(random, table)
    return Example(f"{table.schema(random)} {question}", statement)


def _count(random: Random, table: Table) -> tuple[str, str]:
    question = random.choice(("How many {t} are there?", "Count the {t}."))
    return question.format(t=table.name), f"SELECT COUNT(*) FROM {table.name};"


def _count_equal(random: Random, table: Table) -> tuple[str, str]:
    column = random.choice(list(table.texts)[1:] or list(table.texts))
    value = random.choice(table.texts[column])
    question = random.choice(("How many {t} have the {c} {v}?", "Count the {t} whose {c} is {v}."))
    return (
        question.format(t=table.name, c=column, v=value),
        f"SELECT COUNT(*) FROM {table.name} WHERE {column} = '{value}';",
    )


def _aggregate(random: Random, table: Table) -> tuple[str, str]:
    column = random.choice(table.numbers)
    word, function = random.choice(
        (("average", "AVG"), ("highest", "MAX"), ("lowest", "MIN"), ("total", "SUM"))
    )
    question = random.choice(("What is the {w} {c} of the {t}?", "Find the {w} {c} of all {t}."))
    return (
        question.format(w=word, c=column, t=table.name),
        f"SELECT {function}({column}) FROM {table.name};",
    )


def _compare(random: Random, table: Table) -> tuple[str, str]:
    shown, column = next(iter(table.texts)), random.choice(table.numbers)
    words, sign = random.choice(
        (("over", ">"), ("above", ">"), ("below", "<"), ("under", "<"), ("of at least", ">="))
    )
    value = random.choice((random.randint(1, 99), 10 * random.randint(10, 300)))
    question = random.choice(
        ("List the {s} of all {t} with a {c} {w} {v}.", "Which {t} have a {c} {w} {v}?")
    )
    return (
        question.format(s=shown, t=table.name, c=column, w=words, v=value),
        f"SELECT {shown} FROM {table.name} WHERE {column} {sign} {value};",
    )


def _look_up(random: Random, table: Table) -> tuple[str, str]:
    shown = next(iter(table.texts))
    column = random.choice([*list(table.texts)[1:], *table.numbers])
    value = random.choice(table.texts[shown])
    question = random.choice(("What is the {c} of {v}?", "Show the {c} of {v}."))
    return (
        question.format(c=column, v=value),
        f"SELECT {column} FROM {table.name} WHERE {shown} = '{value}';",
    )


def _filter(random: Random, table: Table) -> tuple[str, str]:
    shown = next(iter(table.texts))
    column = random.choice(list(table.texts)[1:] or [shown])
    value = random.choice(table.texts[column])
    question = random.choice(("List all {t} with the {c} {v}.", "Which {t} have the {c} {v}?"))
    return (
        question.format(t=table.name, c=column, v=value),
        f"SELECT {shown} FROM {table.name} WHERE {column} = '{value}';",
    )


def _order(random: Random, table: Table) -> tuple[str, str]:
    shown, column = next(iter(table.texts)), random.choice(table.numbers)
    words, direction = random.choice((("highest", "DESC"), ("lowest", "ASC")))
    count = random.randint(2, 20)
    question, statement = random.choice(
        (
            (f"List all {table.name} by {column}, {words} first.", ""),
            (f"Which {count} {table.name} have the {words} {column}?", f" LIMIT {count}"),
        )
    )
    return question, f"SELECT {shown} FROM {table.name} ORDER BY {column} {direction}{statement};"


_KINDS: tuple[Callable[[Random, Table], tuple[str, str]], ...] = (
    _count,
    _count_equal,
    _aggregate,
    _compare,
    _look_up,
    _filter,
    _order,
)
