"""Curves as an SVG of three panels and as a table. Draws what it is given, measures nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

Series = Sequence[tuple[str, str, str, str]]  # key of a point, label, colour, dashes

PANELS = ("sequences", "context", "threads")
SERIES: Series = (
    ("tokens_per_second", "measured", "#1f5fbf", ""),
    ("bandwidth_limit", "read bandwidth", "#b3541e", "6 4"),
    ("arithmetic_limit", "product rate", "#4a7a3a", "2 3"),
)
WIDTH, HEIGHT, LEFT, TOP, GAP = 300, 240, 70, 50, 80


def table(document: dict[str, Any]) -> str:
    """One line a point: what was measured, and its share of the lower limit."""
    lines = [f"{document['model']}, {document['threads']} threads, tokens/s"]
    for panel in PANELS:
        lines.append(f"{panel:>12}  measured  bandwidth  arithmetic  share of the limit")
        for where, point in document["curves"][panel].items():
            bound = min(point["bandwidth_limit"], point["arithmetic_limit"])
            lines.append(
                f"{where:>12}  {point['tokens_per_second']:8.1f}  {point['bandwidth_limit']:9.1f}  "
                f"{point['arithmetic_limit']:10.1f}  {point['tokens_per_second'] / bound:.2f}"
            )
    return "\n".join(lines)


def size() -> tuple[int, int]:
    """Width and height of what `draw` draws."""
    return LEFT + len(PANELS) * (WIDTH + GAP), HEIGHT + 130


def draw(document: dict[str, Any], panels: Sequence[str] = PANELS, series: Series = SERIES) -> str:
    """The whole SVG, of as many panels as PANELS; both axes logarithmic. What `series` names first
    was measured, and its points are marked."""
    width, height = size()
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="24" font-size="15">{escape(document["model"])}: tokens per second, '
        f"{document['threads']} threads, {escape(document['machine']['processor'])}</text>",
    ]
    for index, panel in enumerate(panels):
        points = {float(at): point for at, point in document["curves"][panel].items()}
        parts += _panel(panel, points, LEFT + index * (WIDTH + GAP), series)
    for index, (_, label, colour, dashes) in enumerate(series):
        x, y = LEFT + index * 170, HEIGHT + 110
        parts.append(line([(x, y - 4), (x + 30, y - 4)], colour, dashes))
        parts.append(f'<text x="{x + 38}" y="{y}">{label}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _panel(
    name: str, points: dict[float, dict[str, float]], left: int, series: Series
) -> list[str]:
    places = sorted(points)
    values = [points[at][key] for at in places for key, *_ in series]
    low, high = math.log10(min(values)) - 0.05, math.log10(max(values)) + 0.05
    span = math.log2(places[-1] / places[0]) or 1.0

    def across(at: float) -> float:
        return left + WIDTH * math.log2(at / places[0]) / span

    def up(value: float) -> float:
        return TOP + HEIGHT * (high - math.log10(value)) / (high - low)

    bottom = TOP + HEIGHT
    parts = [
        f'<rect x="{left}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#888"/>',
        f'<text x="{left + WIDTH / 2}" y="{bottom + 38}" text-anchor="middle">{name}</text>',
    ]
    for at in _readable([across(at) for at in places], places):
        text = f"{at / 1024:g}k" if at >= 1024 else f"{at:g}"
        parts.append(
            f'<text x="{across(at):.1f}" y="{bottom + 18}" text-anchor="middle">{text}</text>'
        )
    for tick in ticks(10**low, 10**high):
        y = up(tick)
        parts.append(line([(left, y), (left + WIDTH, y)], "#ddd", ""))
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:,.0f}</text>')
    for key, _, colour, dashes in series:
        path = [(across(at), up(points[at][key])) for at in places]
        parts.append(line(path, colour, dashes))
        if key == series[0][0]:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in path]
    return parts


def line(points: list[tuple[float, float]], colour: str, dashes: str) -> str:
    """A polyline; dashes: as SVG's stroke-dasharray, "" for none."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>'


def _readable(positions: list[float], labels: list[float]) -> list[float]:
    """The labels that keep 26 pixels from the one before."""
    chosen: list[float] = []
    last = -math.inf
    for position, label in zip(positions, labels, strict=True):
        if position - last >= 26:
            chosen.append(label)
            last = position
    return chosen


def ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between the two."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = [m * 10.0**e for e in range(first, last + 1) for m in (1, 2, 5)]
    return [tick for tick in every if low <= tick <= high]
