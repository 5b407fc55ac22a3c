"""People who are made up, sentences that tell of them, and questions about them.

What training sees and what evaluation sees share no name, no city and no job, so that a copied
answer is read from the sentence and not remembered.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from voice import words

_FIRST_NAMES = words("""
    Maria James Linda Omar Sofia Peter Aisha David Elena Thomas Grace Lucas Nina Samuel Clara
    Victor Hannah Diego Alice Martin Julia Felix Laura Simon Emma Robert Yuki Daniel Irene
    Paul Rosa Adam Karen Hugo Naomi Leon Tara Oscar Ruth Ivan Mona Frank Stella Jack Vera Noah
    Amara Henry Zoe Carlos Ingrid Walter
""")
_SURNAMES = words("""
    Lopez Carter Novak Haddad Rossi Meyer Khan Miller Petrova Wright Okafor Bauer Tanaka Cohen
    Schmidt Moreau Olsen Vargas Turner Jansen Costa Fischer Reid Larsson Bennett Hughes Sato
    Ward Papas Dubois Mendes Foster Lewis Mancini Osei Wagner Patel Berg Stein Kovac Farouk
    Nash Lindberg Murphy Orlov Price Diallo Brooks Adler Ramos Holm Keane
""")
_CITIES = words("""
    Berlin Madrid Toronto Lisbon Vienna Dublin Prague Chicago Oslo Athens Cairo Sydney Boston
    Lima Nairobi Rome Warsaw Seoul Denver Milan Hamburg Glasgow Porto Zurich Austin Kyoto
    Ghent Geneva Havana Montreal Naples Seattle Krakow Bristol Valencia Turin Leeds Osaka
    Bergen Mumbai
""")
_JOBS = words("""
    baker teacher doctor farmer lawyer plumber painter dentist carpenter gardener chemist
    journalist waiter tailor pilot butcher singer welder miner librarian accountant architect
    engineer electrician actor astronomer
""")

_UNSEEN_FIRST_NAMES = words("""
    Anna Miguel Priya Jonas Beatrice Kofi Marta Edgar Lena Stefan
""")
_UNSEEN_SURNAMES = words("""
    Keller Santos Sharma Nilsen Marchetti Mensah Dvorak Quinn Vogel Laurent
""")
_UNSEEN_CITIES = words("""
    Lyon Tokyo Munich Helsinki Bogota Cardiff Antwerp Marseille Delhi Phoenix
""")
_UNSEEN_JOBS = words("""
    nurse chef photographer mechanic biologist cashier optician translator
""")


@dataclass(frozen=True, slots=True)
class Person:
    """age in years."""

    name: str
    age: int
    job: str
    city: str


@dataclass(frozen=True, slots=True)
class Telling:
    """A sentence, and which facts beside the name it tells."""

    sentence: str
    tells: frozenset[str]


_ALL = "age job city"
_FORMS = (
    ("{name} is a {age}-year-old {job} from {city}.", _ALL),
    ("{name}, {age}, works as {a_job} in {city}.", _ALL),
    ("{name} is {age} years old, works as {a_job} and lives in {city}.", _ALL),
    ("In {city} lives {name}, {a_job} aged {age}.", _ALL),
    ("{name} ({age}) is {a_job} in {city}.", _ALL),
    ("My neighbour {name} is {a_job} who came from {city} at the age of {age}.", _ALL),
    ("We hired {name} from {city}, {a_job}, who is {age}.", _ALL),
    ("The {job} {name} is {age} and lives in {city}.", _ALL),
    ("{name} lives in {city} and works as {a_job}.", "job city"),
    ("{name} is {a_job} from {city}.", "job city"),
    ("At {age}, {name} moved to {city}.", "age city"),
    ("{name} from {city} turned {age} last week.", "age city"),
    ("{name} is {a_job} and {age} years old.", "age job"),
    ("Yesterday I met {name}, {a_job}.", "job"),
    ("{name} lives in {city}.", "city"),
    ("{name} is {age} years old.", "age"),
)
_UNSEEN_FORMS = (
    ("{name}, {age}, is {a_job} in {city}.", _ALL),
    ("This is {name} from {city}, {age} years old, {a_job}.", _ALL),
    ("{name} works in {city} as {a_job}.", "job city"),
)


def make_person(random: Random, *, unseen: bool) -> Person:
    """Someone of the names, cities and jobs of training, or of those kept from it."""
    first = _UNSEEN_FIRST_NAMES if unseen else _FIRST_NAMES
    last = _UNSEEN_SURNAMES if unseen else _SURNAMES
    return Person(
        name=f"{random.choice(first)} {random.choice(last)}",
        age=random.randint(18, 79),
        job=random.choice(_UNSEEN_JOBS if unseen else _JOBS),
        city=random.choice(_UNSEEN_CITIES if unseen else _CITIES),
    )


def tell(random: Random, person: Person, *, unseen: bool) -> Telling:
    """One sentence about the person, of training's forms or of any."""
    form, facts = random.choice(_FORMS + _UNSEEN_FORMS if unseen else _FORMS)
    sentence = form.format(
        name=person.name,
        age=person.age,
        job=person.job,
        city=person.city,
        a_job=with_article(person.job),
    )
    return Telling(sentence, frozenset(facts.split()))


def with_article(noun: str) -> str:
    """The noun behind "a" or "an"."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


QUESTIONS = {
    "city": ("Where does {name} live?", "In which city does {name} live?"),
    "age": ("How old is {name}?", "What is the age of {name}?"),
    "job": ("What is the job of {name}?", "What does {name} do for a living?"),
}
"""Ways to ask for a fact."""
