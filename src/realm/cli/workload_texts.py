"""The prompts of the speculation workloads: what stands in `texts`, one folder a workload.

A file is a document, a line `---`, and requests about the document, one a line. Each request makes
one prompt: the document, an empty line, the request. A document may be empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "texts"
WORKLOADS = ("extract", "edit", "code", "json", "chat")
_DIVIDER = "---\n"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a user says. name: the file and the number of the request in it, from 1."""

    workload: str
    name: str
    text: str


def prompts(workload: str, folder: Path = FOLDER) -> list[Prompt]:
    """Every prompt of a workload, in the order of file names. Raises ValueError for a bad file."""
    found = []
    for path in sorted((folder / workload).glob("*.txt")):
        text = "\n" + path.read_text(encoding="utf-8")
        document, divider, requests = text.rpartition("\n" + _DIVIDER)
        lines = [line for line in requests.splitlines() if line.strip()]
        if not divider or not lines:
            raise ValueError(f"{path.name} has no requests after a line '---'")
        for number, line in enumerate(lines, 1):
            whole = f"{document.strip()}\n\n{line}".strip()
            found.append(Prompt(workload, f"{path.stem}-{number}", whole))
    if not found:
        raise ValueError(f"there is no workload {workload!r}")
    return found
