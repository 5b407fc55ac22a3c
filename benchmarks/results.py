"""Where results go and what stands at the head of each: the day, the machine."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import machine

LOCAL = Path(__file__).resolve().parent / "results" / "local"


def begin(**facts: Any) -> dict[str, Any]:
    """A document with its head, then these facts. Call it before the machine gets busy."""
    today = datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d")
    return {"taken": today, "machine": machine.describe(), **facts}


def write(document: dict[str, Any], name: str, output: Path | None = None) -> Path:
    """The document as JSON in `output`, or under results/local by day, processor and name."""
    if output is None:
        processor = machine.slug(document["machine"]["processor"])
        output = LOCAL / f"{document['taken']}-{processor}-{name.lower()}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return output
