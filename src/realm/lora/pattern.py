"""Regular expressions out of an adapter's configuration, matched without backtracking.

A configuration comes from a stranger, and Python's `re` can be kept busy for ever by a short
pattern. This matcher computes the set of places where each part can end, so its time is bounded by
pattern times text squared. It knows what module patterns use: literals, `.`, classes, groups,
alternatives, repeats, `^` and `$`. Anything else is refused, never guessed. A pattern of few
repeats of single characters cannot be slow; `re` matches it, with the same answers.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from realm.errors import AdapterFormatError, AdapterKindError

_LONGEST = 2000
_DEEPEST = 20
_MANY = 1 << 30
_STEPS = 150_000
_FEW_REPEATS = 3
_SPECIAL = frozenset(r"\.^$*+?{}[]|()")
_CLASSES: dict[str, Callable[[str], bool]] = {
    "d": lambda c: c.isdigit(),
    "D": lambda c: not c.isdigit(),
    "w": lambda c: c.isalnum() or c == "_",
    "W": lambda c: not (c.isalnum() or c == "_"),
    "s": lambda c: c.isspace(),
    "S": lambda c: not c.isspace(),
}

Ends = frozenset[int]
Node = Callable[[str, int], Ends]


class MatchBudget:
    """Steps that all patterns of one configuration may take together."""

    __slots__ = ("_place", "_steps")

    def __init__(self, place: str, steps: int = _STEPS) -> None:
        """place: begins the message of an error."""
        self._place = place
        self._steps = steps

    def spend(self) -> None:
        """One step. Raises AdapterFormatError when none is left."""
        self._steps -= 1
        if self._steps < 0:
            raise AdapterFormatError(f"{self._place}: its patterns take too long to match")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed expression."""

    source: str
    _node: Node
    _expression: re.Pattern[str] | None

    def matches_all(self, text: str) -> bool:
        """As `re.fullmatch` does."""
        if self._expression is not None:
            return self._expression.fullmatch(text) is not None
        return len(text) in self._node(text, 0)

    def matches_tail(self, text: str) -> bool:
        """The whole text, or what follows one of its dots: `re.match("(.*\\.)?(...)$", text)`."""
        starts = (0, *(index + 1 for index, c in enumerate(text) if c == "."))
        if self._expression is not None:
            return any(self._expression.fullmatch(text, start) for start in starts)
        return any(len(text) in self._node(text, start) for start in starts)


def compile_pattern(source: str, place: str, budget: MatchBudget) -> Pattern:
    """Parse `source`. place: begins the message of an error. budget: what its matches spend.

    Raises AdapterFormatError for what is no expression, AdapterKindError for one that uses more
    than this matcher knows.
    """
    if len(source) > _LONGEST:
        raise AdapterFormatError(f"{place}: a pattern of {len(source)} characters is too long")
    parser = _Parser(source, place, budget)
    node = parser.alternatives(0)
    if parser.position < len(source):
        raise parser.malformed("a ')' without its '('")
    if not parser.is_quick:
        return Pattern(source, node, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # for what a later `re` may read otherwise
        return Pattern(source, node, re.compile(source))


def is_plain(source: str) -> bool:
    """Whether the pattern is a name: nothing special in it but dots."""
    return not (_SPECIAL - {"."}).intersection(source)


class _Parser:
    """Recursive descent over one pattern; nodes map a start to every place they can end."""

    __slots__ = ("_budget", "_has_repeated_group", "_place", "_repeat_count", "_source", "position")

    def __init__(self, source: str, place: str, budget: MatchBudget) -> None:
        self._source = source
        self._budget = budget
        self._place = place
        self._repeat_count = 0
        self._has_repeated_group = False
        self.position = 0

    @property
    def is_quick(self) -> bool:
        """Whether backtracking through what was parsed ends soon."""
        return self._repeat_count <= _FEW_REPEATS and not self._has_repeated_group

    def malformed(self, what: str) -> AdapterFormatError:
        return AdapterFormatError(
            f"{self._place}: pattern {self._source!r} at {self.position}: {what}"
        )

    def _unknown(self, what: str) -> AdapterKindError:
        return AdapterKindError(
            f"{self._place}: pattern {self._source!r} at {self.position}: {what} is not offered"
        )

    def _next(self) -> str:
        return self._source[self.position : self.position + 1]

    def _accept(self, character: str) -> bool:
        if self._next() != character:
            return False
        self.position += 1
        return True

    def alternatives(self, depth: int) -> Node:
        if depth > _DEEPEST:
            raise self.malformed(f"groups are nested deeper than {_DEEPEST}")
        choices = [self._sequence(depth)]
        while self._accept("|"):
            choices.append(self._sequence(depth))
        return choices[0] if len(choices) == 1 else self._remembered(_either(choices))

    def _sequence(self, depth: int) -> Node:
        parts: list[Node] = []
        while self._next() not in ("", "|", ")"):
            first = self._next()
            atom = self._atom(depth)
            parts.append(atom if first in ("^", "$") else self._repeated(atom, first == "("))
        return self._remembered(_one_after_another(parts))

    def _atom(self, depth: int) -> Node:
        character = self._next()
        if character in ("*", "+", "?") or self._counts() is not None:
            raise self.malformed(f"nothing to repeat before {character!r}")
        self.position += 1
        if character == "(":
            return self._group(depth)
        if character == "^":
            return lambda _, start: frozenset((start,) if start == 0 else ())
        if character == "$":
            return lambda text, start: frozenset((start,) if start == len(text) else ())
        return self._one(self._character(character))

    def _group(self, depth: int) -> Node:
        if self._accept("?") and not self._accept(":"):
            raise self._unknown("a group that begins with '(?'")
        node = self.alternatives(depth + 1)
        if not self._accept(")"):
            raise self.malformed("a '(' without its ')'")
        return node

    def _character(self, character: str) -> Callable[[str], bool]:
        if character == "[":
            return self._members()
        if character == "\\":
            return self._escape()
        if character == ".":
            return lambda c: c != "\n"
        return character.__eq__

    def _escape(self) -> Callable[[str], bool]:
        character = self._next()
        self.position += 1
        if character in _CLASSES:
            return _CLASSES[character]
        if not character or character.isalnum():
            raise self._unknown(f"'\\{character}'")
        return character.__eq__

    def _members(self) -> Callable[[str], bool]:
        negated = self._accept("^")
        members: list[Callable[[str], bool]] = []
        # As in Python, a ']' that comes first is a member.
        while not members or not self._accept("]"):
            if not self._next():
                raise self.malformed("a '[' without its ']'")
            members.append(self._member())
        return lambda c: negated != any(member(c) for member in members)

    def _member(self) -> Callable[[str], bool]:
        following = self._source[self.position + 1 : self.position + 2]
        if self._next() == "\\" and following in _CLASSES:
            self.position += 1
            return self._escape()
        first = self._literal()
        rest = self._source[self.position : self.position + 2]
        if len(rest) < 2 or rest[0] != "-" or rest[1] == "]":
            return first.__eq__
        self.position += 1
        last = self._literal()
        if last < first:
            raise self.malformed(f"the range {first}-{last} is empty")
        return lambda c: first <= c <= last

    def _literal(self) -> str:
        character = self._next()
        self.position += 1
        if character != "\\":
            return character
        escaped = self._next()
        self._escape()
        return escaped

    def _repeated(self, node: Node, is_group: bool) -> Node:
        bounds = self._bounds()
        if bounds is None:
            return node
        self._repeat_count += 1
        self._has_repeated_group |= is_group
        self._accept("?")  # a lazy repeat ends at the same places
        if self._next() in ("*", "+", "?") or self._counts() is not None:
            raise self._unknown("a repeat of a repeat")
        return self._remembered(_repeat(node, *bounds))

    def _bounds(self) -> tuple[int, int] | None:
        character = self._next()
        simple = {"*": (0, _MANY), "+": (1, _MANY), "?": (0, 1)}
        if character in simple and character:
            self.position += 1
            return simple[character]
        counts = self._counts()
        if counts is None:
            return None
        self.position = self._source.index("}", self.position) + 1
        if counts[0] > counts[1]:
            raise self.malformed("a repeat with more at least than at most")
        return counts

    def _counts(self) -> tuple[int, int] | None:
        """`{m}`, `{m,}`, `{,n}` or `{m,n}` at the position; braces around others are literal."""
        if self._next() != "{" or "}" not in self._source[self.position :]:
            return None
        body = self._source[self.position + 1 : self._source.index("}", self.position)]
        least, comma, most = body.partition(",")
        if not all(part == "" or (part.isdecimal() and len(part) <= 9) for part in (least, most)):
            return None
        if not comma:
            return (int(least), int(least)) if least else None
        return int(least or 0), int(most) if most else _MANY

    def _one(self, accepts: Callable[[str], bool]) -> Node:
        budget = self._budget

        def node(text: str, start: int) -> Ends:
            budget.spend()
            is_there = start < len(text) and accepts(text[start])
            return frozenset((start + 1,)) if is_there else frozenset()

        return node

    def _remembered(self, node: Node) -> Node:
        """The node, with its answers for the text it was last asked about kept by start."""
        budget = self._budget
        answers: dict[int, Ends] = {}
        asked = [""]

        def cached(text: str, start: int) -> Ends:
            budget.spend()
            if asked[0] is not text:
                asked[0] = text
                answers.clear()
            ends = answers.get(start)
            if ends is None:
                ends = answers[start] = node(text, start)
            return ends

        return cached


def _either(choices: Iterable[Node]) -> Node:
    nodes = tuple(choices)
    return lambda text, start: frozenset().union(*(node(text, start) for node in nodes))


def _one_after_another(parts: Iterable[Node]) -> Node:
    nodes = tuple(parts)

    def node(text: str, start: int) -> Ends:
        ends: Ends = frozenset((start,))
        for each in nodes:
            ends = frozenset().union(*(each(text, end) for end in ends))
            if not ends:
                break
        return ends

    return node


def _repeat(inner: Node, least: int, most: int) -> Node:
    def step(text: str, ends: Ends) -> Ends:
        return frozenset().union(*(inner(text, end) for end in ends))

    def node(text: str, start: int) -> Ends:
        ends: Ends = frozenset((start,))
        # A repeat more often than there are characters has empty rounds: more change nothing.
        for _ in range(min(least, len(text) + 1)):
            ends = step(text, ends)
        found, frontier = ends, ends
        for _ in range(min(most - least, len(text) + 1)):
            frontier = step(text, frontier) - found
            if not frontier:
                break
            found |= frontier
        return found

    return node
