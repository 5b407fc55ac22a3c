"""What can be said of the page's files without a browser."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

from realm.server.front import page

STATIC = Path(page.__file__).parent / "static"
CONTROLS = {"input", "select", "textarea", "meter", "progress"}

_FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|localStorage"
    r"|document\.cookie|createContextualFragment|srcdoc|setAttribute\(\"(?:style|on)"
)
_OUTSIDE = re.compile(r"(?:https?:|wss?:)?//[a-z0-9]", re.IGNORECASE)


class PageParser(HTMLParser):
    """elements: tags with their attributes, in order. inline: text in script and style elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.inline: list[str] = []
        self._open: list[str] = []
        self.text_of: dict[int, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.text_of[len(self.elements) - 1] = data.strip()
            if self._open and self._open[-1] in ("script", "style"):
                self.inline.append(data)


def faults_of_page(text: str) -> list[str]:
    """What is wrong with a page's HTML; nothing when it is sound."""
    parsed = PageParser(text)
    faults = [f"inline: {each}" for each in parsed.inline]
    ids = Counter(found["id"] for _, found in parsed.elements if "id" in found)
    faults += [f"twice: {name}" for name, count in ids.items() if count > 1]
    labelled = {found.get("for") for tag, found in parsed.elements if tag == "label"}
    for place, (tag, found) in enumerate(parsed.elements):
        for name, value in found.items():
            if name == "style" or name.startswith("on"):
                faults.append(f"{tag} has {name}")
            if name in ("src", "href") and not re.match(r"/page/[a-z]+\.[a-z]+\Z|#", value):
                faults.append(f"{tag} points to {value}")
            if name in ("for", "aria-labelledby", "aria-describedby") and value not in ids:
                faults.append(f"{tag}: nothing is called {value}")
        if tag in CONTROLS and found.get("id") not in labelled:
            faults.append(f"no label: {tag} {found}")
        if tag == "button" and place not in parsed.text_of:
            faults.append(f"no text: {tag} {found}")
        if tag == "img" and "alt" not in found:
            faults.append(f"no alt: {found}")
    return faults


def faults_of_script(text: str, page_text: str) -> list[str]:
    """What is wrong with one of the page's scripts."""
    code = re.sub(r"^\s*(//|/\*\*| \*|\*/).*$", "", text, flags=re.MULTILINE)
    faults = [each[0] for each in (*_FORBIDDEN.finditer(code), *_OUTSIDE.finditer(code))]
    ids = {found["id"] for _, found in PageParser(page_text).elements if "id" in found}
    used = re.findall(r"(?:element|setText|setMeter|setNotice|new Chart)\(\s*\"([^\"]+)\"", code)
    faults += [f"nothing is called {name}" for name in used if name not in ids]
    for found in re.findall(r"\b(?:from|import)\s*\(?\s*\"([^\"]+)\"", code):
        if not (found.startswith("/page/") and (STATIC / found.removeprefix("/page/")).is_file()):
            faults.append(f"imports {found}")
    return faults


def faults_of_style(text: str) -> list[str]:
    """What is wrong with the style sheet: anything that it would load, and too little contrast."""
    faults = re.findall(r"url\(.*|@import.*", text) + _OUTSIDE.findall(text)
    first, second = text.split("@media (prefers-color-scheme: dark)", 1)
    light, dark = _colours(first), _colours(second.split("* {", 1)[0])
    for scheme in (light, {**light, **dark}):
        for front, back, least in (
            ("ink", "ground", 7.0),
            ("ink", "sheet", 7.0),
            ("ink", "mine", 7.0),
            ("ink", "tint", 7.0),
            ("soft", "ground", 4.5),
            ("soft", "sheet", 4.5),
            ("bad", "bad-ground", 4.5),
            ("bad", "sheet", 4.5),
            ("on-accent", "accent", 4.5),
            ("accent", "sheet", 3.0),
            ("accent", "tint", 3.0),
            ("edge", "sheet", 3.0),
            ("waiting", "sheet", 3.0),
        ):
            if (found := contrast(scheme[front], scheme[back])) < least:
                faults.append(f"{front} on {back}: {found:.2f}")
    return faults


def contrast(first: str, second: str) -> float:
    """The contrast of two colours like #1d1c1a, 1 to 21 (WCAG 2.2, relative luminance)."""
    high, low = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _colours(text: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", text))
