"""The campaign as one SVG: a bar for every row, the cost curves below. Measures nothing."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import svg_plot

_LEFT, _BAR_WIDTH, _ROW, _TOP = 470, 560, 22, 60
_COLOURS = {True: "#4a7a3a", False: "#b3541e", None: "#1f5fbf"}


def draw(document: dict[str, Any]) -> str:
    """The whole SVG."""
    rows = [row for row in document["rows"] if row["ratio"] is not None]
    bars_height = _TOP + _ROW * len(rows) + 50
    curves = [svg_plot.draw(each) for each in document["curves"]]
    width = max(_LEFT + _BAR_WIDTH + 150, svg_plot.size()[0] if curves else 0)
    height = bars_height + len(curves) * svg_plot.size()[1]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="20" y="26" font-size="15">Realm: median ratio (bar), rounds (line), wanted '
        f"(black mark); {escape(document['machine']['processor'])}, "
        f"{document['threads']} threads</text>",
        *_bars(rows),
    ]
    for index, curve in enumerate(curves):
        at = bars_height + index * svg_plot.size()[1]
        parts.append(curve.replace("<svg ", f'<svg x="0" y="{at}" ', 1).rstrip())
    return "\n".join([*parts, "</svg>\n"])


def _bars(rows: list[dict[str, Any]]) -> list[str]:
    values = [value for row in rows for value in (*row["ratio"].values(), row["wanted"]) if value]
    if not values:
        return []
    low, high = math.log10(min(*values, 1.0)) - 0.1, math.log10(max(*values, 1.0)) + 0.05

    def across(value: float) -> float:
        return _LEFT + _BAR_WIDTH * (math.log10(max(value, 10**low)) - low) / (high - low)

    bottom = _TOP + _ROW * len(rows)
    parts = []
    for tick in svg_plot.ticks(10**low, 10**high):
        x = across(tick)
        parts.append(svg_plot.line([(x, _TOP - 6), (x, bottom)], "#ddd", ""))
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    for index, row in enumerate(rows):
        middle = _TOP + _ROW * index + _ROW / 2
        ratio = row["ratio"]
        label = escape(f"{row['line']}: {row['what']} / {row['against']}")
        end = across(ratio["median"])
        parts += [
            f'<text x="{_LEFT - 8}" y="{middle + 4}" text-anchor="end" font-size="11">'
            f"{label}</text>",
            f'<rect x="{_LEFT}" y="{middle - 7}" width="{end - _LEFT:.1f}" height="14" '
            f'fill="{_COLOURS[row["met"]]}" fill-opacity="0.75"/>',
            svg_plot.line(
                [(across(ratio["lowest"]), middle), (across(ratio["highest"]), middle)], "#222", ""
            ),
            f'<text x="{max(end, across(ratio["highest"])) + 8:.1f}" y="{middle + 4}">'
            f"{ratio['median']:.2f}</text>",
        ]
        if row["wanted"]:
            x = across(row["wanted"])
            parts.append(
                f'<rect x="{x - 1.5:.1f}" y="{middle - 9}" width="3" height="18" fill="black"/>'
            )
    return parts
