"""Plain text for people: sizes, durations, tables, and JSON for machines. It never measures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

_DECIMAL_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def print_json(document: Mapping[str, Any], stream: TextIO) -> None:
    """One JSON object on one line."""
    stream.write(json.dumps(document, ensure_ascii=False) + "\n")


def print_folder(
    directory: Path,
    documents: Mapping[str, Sequence[Mapping[str, Any]]],
    rows: Sequence[tuple[str, ...]],
    stream: TextIO,
    *,
    as_json: bool,
) -> None:
    """What a folder holds. documents: under the one name that --json has for them."""
    if as_json:
        print_json({"directory": str(directory), **documents}, stream)
    else:
        print(f"{format_rows(rows, indent='')}in {directory}", file=stream)


def format_bytes(count: float) -> str:
    """Bytes in decimal units with one digit: 98.4 MB."""
    for size, unit in _DECIMAL_UNITS:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"


def format_seconds(seconds: float) -> str:
    """A duration in the unit that suits it: 12.3 s, 45.6 ms, 789 µs."""
    if seconds >= 1.0:
        return f"{seconds:.2f} s"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds * 1e6:.0f} µs"


def format_rate(tokens: float, seconds: float) -> str:
    """Tokens per second, or a dash where no time passed."""
    return f"{tokens / seconds:,.1f} tok/s" if seconds > 0 else "-"


def format_rows(rows: Sequence[tuple[str, ...]], *, indent: str = "  ") -> str:
    """Rows in columns as wide as their widest cell, ends trimmed; a newline after each."""
    columns = max((len(row) for row in rows), default=0)
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(columns)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append((indent + "  ".join(cells)).rstrip())
    return "".join(line + "\n" for line in lines)
