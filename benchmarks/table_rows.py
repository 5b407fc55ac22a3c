"""One row of the campaign's table: a figure, what it is held against, and whether that is met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import text_table
from rounds import Spread

_HEADER = ("line", "what", "figure", "against", "its figure", "ratio", "wanted", "met")


@dataclass(frozen=True, slots=True)
class Row:
    """figure, other: medians in `unit`; share: figure over other, by round.

    line: of the list in docs/benchmarks.md. wanted: the least share, with `at_most` the greatest,
    None where nothing is asked. missing: why there are no figures, None where there are.
    """

    line: str
    what: str
    against: str
    unit: str = "tok/s"
    figure: float | None = None
    other: float | None = None
    share: Spread | None = None
    wanted: float | None = None
    at_most: bool = False
    missing: str | None = None

    @property
    def met(self) -> bool | None:
        """By the median, on this machine. None where nothing is asked or nothing was measured."""
        if self.wanted is None or self.share is None:
            return None
        if self.at_most:
            return self.share.median <= self.wanted
        return self.share.median >= self.wanted

    def document(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return {
            "line": self.line,
            "what": self.what,
            "against": self.against,
            "unit": self.unit,
            "figure": self.figure,
            "other": self.other,
            "ratio": None if self.share is None else self.share.document(),
            "wanted": self.wanted,
            "at_most": self.at_most,
            "met": self.met,
            "missing": self.missing,
        }

    def cells(self) -> tuple[str, ...]:
        """As the table shows it."""
        sign = "<=" if self.at_most else ">="
        wanted = "" if self.wanted is None else f"{sign} {self.wanted:g}"
        if self.missing is not None or self.share is None:
            missing = f"not available: {self.missing}"
            return (self.line, self.what, "-", self.against, "-", missing, wanted, "-")
        return (
            self.line,
            self.what,
            self._shown(self.figure),
            self.against,
            self._shown(self.other),
            str(self.share),
            wanted,
            {None: "", True: "yes", False: "NO"}[self.met],
        )

    def _shown(self, value: float | None) -> str:
        if value is None:
            return "-"
        return f"{value:,.{1 if value >= 10 else 3}f} {self.unit}"


def table(rows: Sequence[Row]) -> str:
    """All rows as text."""
    return text_table.lay_out([_HEADER, *(row.cells() for row in rows)])


def footer(document: dict[str, Any]) -> str:
    """What the table's figures are, in one line."""
    facts = document["machine"]
    return (
        f"medians of {document['rounds']} rounds, {document['threads']} threads; "
        f"{facts['processor']} ({facts['family_model']}), {facts['cores']} cores; "
        f"{document['peer']}; figure over figure of the same round, lowest and highest in brackets"
    )
