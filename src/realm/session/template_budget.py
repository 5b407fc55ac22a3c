"""How much work a chat template may do: every character, element and step it makes is paid for.

Never looks at a clock, so that the same template and messages always end the same way.
"""

from __future__ import annotations

import re
from collections.abc import ItemsView, Iterable, KeysView, Mapping, ValuesView
from typing import Final

from jinja2.runtime import Undefined

from realm.errors import ChatTemplateError

# For short conversations: a second or two of work at most, and some tens of megabytes.
WORK_UNITS: Final = 40_000_000
MADE_UNITS: Final = 8_000_000
UNITS_PER_CHARACTER: Final = 64
UNITS_PER_PAIR_OF_MESSAGES: Final = 256
ELEMENT_UNITS: Final = 16
STEP_UNITS: Final = 8
CALL_UNITS: Final = 48
CONTAINER_UNITS: Final = 64
_DEPTH: Final = 64
_INTEGER_BITS: Final = 1024
# Widths of four digits and more, widths that are themselves arguments, and fields inside fields.
_WIDE_FIELD: Final = re.compile(r"%[^a-zA-Z%]*(?:\d{4}|\*)|\{[^{}]*(?:\d{4}|\{)")
_FIELD_UNITS: Final = 1000


class Budget:
    """What is left for one rendering, in units of about one character read, or made."""

    __slots__ = ("_made_left", "_work_left")

    def __init__(self, work_units: int, made_units: int) -> None:
        self._work_left = work_units
        self._made_left = made_units

    @classmethod
    def for_input(cls, context: object, message_count: int) -> Budget:
        """What a template needs for this input, many times over.

        Some published templates look at every message for every message.
        """
        extra = UNITS_PER_CHARACTER * cls(2**62, 2**62).read(context)
        pairs = UNITS_PER_PAIR_OF_MESSAGES * message_count**2
        return cls(WORK_UNITS + extra + pairs, MADE_UNITS + extra)

    def spend(self, units: int) -> None:
        """Pay for work; ChatTemplateError when nothing is left."""
        self._work_left -= units
        if self._work_left < 0:
            raise ChatTemplateError(
                "the chat template does more work than a conversation of this length can need"
            )

    def make(self, units: int) -> None:
        """Pay for work that leaves something in memory; ChatTemplateError when nothing is left."""
        self.spend(units)
        self._made_left -= units
        if self._made_left < 0:
            raise ChatTemplateError(
                "the chat template makes more text than a conversation of this length can need"
            )

    def made(self, value: object) -> None:
        """Pay for a value that an operation made."""
        if isinstance(value, str):
            self.make(1 + len(value))
        elif isinstance(value, list | tuple | dict):
            self.make(1 + ELEMENT_UNITS * len(value))
        elif isinstance(value, int):
            if value.bit_length() > _INTEGER_BITS:
                raise ChatTemplateError("the chat template makes a number of too many digits")
            self.spend(1)
        else:
            self.spend(1)

    def read(self, value: object, *, text: bool = False) -> int:
        """Pay for all of a value, which is about to be compared, hashed or written; its units.

        text: it will be written out or kept in another value, which only plain values may be.
        """
        return self._read(value, text, 0)[0]

    def read_nested(self, value: object) -> tuple[int, int]:
        """Pay for a value that will be written; its units and how deep it is nested."""
        return self._read(value, True, 0)

    def _read(self, value: object, text: bool, depth: int) -> tuple[int, int]:
        if isinstance(value, str):
            self.spend(1 + len(value))
            return 1 + len(value), depth
        parts: Iterable[object]
        if isinstance(value, Mapping):
            parts = (each for pair in value.items() for each in pair)
        elif isinstance(value, list | tuple | KeysView | ValuesView | ItemsView):
            parts = value
        else:
            known = value is None or isinstance(value, bool | int | float | Undefined | range)
            if text and not known:
                raise ChatTemplateError(
                    f"the chat template writes or keeps a {type(value).__name__}"
                )
            self.spend(8)
            return 8, depth
        if depth >= _DEPTH:
            raise ChatTemplateError("the chat template nests values too deeply")
        self.spend(CONTAINER_UNITS)
        units, deepest = 2, depth
        for part in parts:
            part_units, part_depth = self._read(part, text, depth + 1)
            units += part_units
            deepest = max(deepest, part_depth)
        return units, deepest

    def replacing(self, text: str, old: str, new: str) -> None:
        """Pay for text.replace(old, new) before it is made."""
        self.make(len(text) + (text.count(old) + 1) * len(new))

    def joining(self, parts: Iterable[object], separator: str) -> None:
        """Pay for separator.join(parts) before it is made."""
        count = 0
        for part in parts:
            self.read(part, text=True)
            count += 1
        self.make(count * (len(separator) + 1))

    def formatting(self, template: str, values: object) -> None:
        """Pay for filling a `%` or `{}` template before it is done."""
        if _WIDE_FIELD.search(template):
            raise ChatTemplateError("the chat template formats text with a width it may not use")
        fields = template.count("%") + template.count("{")
        self.make(len(template) + fields * (_FIELD_UNITS + self.read(values, text=True)))

    def adding(self, left: object, right: object) -> None:
        """Pay for left + right before it is made."""
        for side in (left, right):
            if isinstance(side, str):
                self.make(1 + len(side))
            elif isinstance(side, list | tuple):
                self.make(1 + ELEMENT_UNITS * len(side))
            else:
                self.make(1)

    def multiplying(self, left: object, right: object) -> None:
        """Pay for left * right before it is made."""
        for many, times in ((left, right), (right, left)):
            if isinstance(many, str | list | tuple) and isinstance(times, int):
                self.make(1 + max(times, 0) * ELEMENT_UNITS * len(many))
        self.make(4)

    def raising(self, base: object, exponent: object) -> None:
        """Refuse base ** exponent if it would have too many digits."""
        self.spend(4)
        if isinstance(base, int) and isinstance(exponent, int):
            bits = max(base.bit_length(), 1)
            if abs(exponent) > _INTEGER_BITS or bits * abs(exponent) > _INTEGER_BITS:
                raise ChatTemplateError("the chat template makes a number of too many digits")
