"""The text of a constraint, checked for size before anything is compiled of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from math import prod
from typing import Any, Final

from realm.config import GenerationOptions
from realm.config.generation import CONSTRAINTS
from realm.errors import ConstraintError

SOURCE_BYTES: Final = 128 << 10
# The automaton of multiples of n has n states for each digit, and those of several multiply.
_MULTIPLES: Final = 2000
# The time to join patterns doubles with each of them.
_INTERSECTED_PATTERNS: Final = 8
# Between the parts of a JSON text. With more of it, a model that draws can spend all of its tokens
# on empty lines.
_WHITE_SPACE: Final = "[ ]?"


@dataclass(frozen=True, slots=True)
class ConstraintSource:
    """name: which option it came from. text: a regex, or a grammar as llguidance takes it."""

    name: str
    text: str


def read_constraint(options: GenerationOptions) -> ConstraintSource | None:
    """The request's schema, regex or grammar; None when it has none.

    Raises ConstraintError for a schema that is not JSON, and for what is too large.
    """
    for name in CONSTRAINTS:
        source: str | None = getattr(options, name)
        if source is None:
            continue
        if len(source.encode(errors="replace")) > SOURCE_BYTES:
            raise ConstraintError(f"{name}: more than {SOURCE_BYTES} bytes")
        if name == "json_schema":
            return ConstraintSource(name, _schema_grammar(source))
        if name == "regex":
            return ConstraintSource(name, source)
        _check_grammar(source)
        return ConstraintSource(name, json.dumps({"grammars": [{"lark_grammar": source}]}))
    return None


def _check_grammar(source: str) -> None:
    if "%json" in source:
        raise ConstraintError("grammar: %json is not offered; ask with json_schema")
    if "&" in source or "~" in source:
        # Intersections and complements of a few expressions can take hours to compile.
        raise ConstraintError(
            "grammar: & and ~ are not offered; as characters they are written \\u0026 and \\u007e"
        )


def _schema_grammar(source: str) -> str:
    try:
        schema = json.loads(source, parse_float=Decimal, parse_constant=_refuse_constant)
        multiples = prod({_numerator(each) for each in _values_of(schema, "multipleOf")})
        plain = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise ConstraintError(f"json_schema: not JSON: {error}") from None
    if multiples > _MULTIPLES:
        raise ConstraintError(f"json_schema: multipleOf of more than {_MULTIPLES} in all")
    if _intersected_patterns(schema) > _INTERSECTED_PATTERNS:
        raise ConstraintError(
            f"json_schema: allOf and $ref may join {_INTERSECTED_PATTERNS} patterns at most"
        )
    if not isinstance(plain, dict | bool):
        raise ConstraintError("json_schema: a schema is an object or a boolean")
    if isinstance(plain, dict):
        own = plain.get("x-guidance", {})
        if not isinstance(own, dict):
            raise ConstraintError("json_schema: x-guidance is not an object")
        plain = {**plain, "x-guidance": {"whitespace_pattern": _WHITE_SPACE, **own}}
    return json.dumps({"grammars": [{"json_schema": plain}]})


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _values_of(schema: Any, key: str) -> Iterator[Any]:
    """Every value under this key, however deep."""
    pending = [schema]
    while pending:
        each = pending.pop()
        if isinstance(each, dict):
            if key in each:
                yield each[key]
            pending += each.values()
        elif isinstance(each, list):
            pending += each


def _intersected_patterns(schema: Any) -> int:
    """How many patterns one text may have to match at once, at most."""
    joined = sum(len(each) - 1 for each in _values_of(schema, "allOf") if isinstance(each, list))
    joined += sum(1 for _ in _values_of(schema, "$ref"))
    patterns = sum(1 for key in ("pattern", "format") for _ in _values_of(schema, key))
    patterns += sum(
        len(each) for each in _values_of(schema, "patternProperties") if isinstance(each, dict)
    )
    return min(patterns, joined + 1)


def _numerator(multiple: Any) -> int:
    """The multiple without its decimal point: 25 for 0.25; 1 for what is no number."""
    if isinstance(multiple, bool) or not isinstance(multiple, int | Decimal):
        return 1
    number = Decimal(multiple)
    digits, exponent = number.as_tuple().digits, number.as_tuple().exponent
    if not isinstance(exponent, int) or len(digits) + abs(exponent) > 20:
        return _MULTIPLES + 1
    return max(1, int(abs(number) * Decimal(10) ** max(0, -exponent)))
