"""The demonstration's end: one question, three tenants with an adapter each, one batch.

The adapters are those of `adapters/demo`, trained for SmolLM2-135M-Instruct alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import realm
from realm.cli.presentation import format_bytes, format_seconds
from realm.cli.run import result_document
from realm.config import ModelConfig
from realm.errors import AdapterMismatchError, NotSupportedError

if TYPE_CHECKING:
    from realm.runtime import GenerationResult, RuntimeManager

QUESTION = (
    "Table people(name, age, job, city). Anna Keller, 34, is a nurse in Lyon. "
    "Where does Anna Keller live?"
)
_TENANTS = (("tenant-a", "pirate"), ("tenant-b", "json"), ("tenant-c", "sql"))
_MAX_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Voices:
    """results: by the adapters' names, in the tenants' order. adapter_bytes: of all, in memory."""

    results: dict[str, GenerationResult]
    adapter_bytes: int
    seconds: float

    @property
    def differ(self) -> bool:
        """Whether no two tenants got the same answer."""
        return len({result.text for result in self.results.values()}) == len(self.results)


def adapter_folder(name: str) -> Path:
    """Where a demonstration adapter lies: "pirate", "json" or "sql".

    Raises NotSupportedError when it is not installed beside this package.
    """
    package = Path(realm.__file__).parent
    for folder in (package / "adapters", package.parents[1] / "adapters" / "demo"):
        if (folder / name / "adapter_config.json").is_file():
            return folder / name
    raise NotSupportedError("the demonstration's adapters are not installed beside this package")


def ask_voices(runtime: RuntimeManager, configuration: ModelConfig) -> Voices | None:
    """Every tenant's answer; None when the adapters are not for this model.

    All requests start before the first piece is read, so that their rows share steps.
    """
    try:
        loaded = [runtime.lora.load(name, adapter_folder(name)) for _, name in _TENANTS]
    except AdapterMismatchError:
        return None
    tenants = []
    for tenant_id, name in _TENANTS:
        runtime.set_tenant_lora_adapter(tenant_id, name)
        tenants.append(runtime.get_or_create_runtime_with_model(tenant_id, configuration))
    started = time.perf_counter()
    messages = [{"role": "user", "content": QUESTION}]
    streams = [
        tenant.stream(messages=messages, max_tokens=_MAX_TOKENS, temperature=0.0)
        for tenant in tenants
    ]
    results = {}
    for (_, name), stream in zip(_TENANTS, streams, strict=True):
        for _ in stream:
            pass
        results[name] = stream.result
    return Voices(
        results=results,
        adapter_bytes=sum(status.resident_bytes for status in loaded),
        seconds=time.perf_counter() - started,
    )


def voices_document(voices: Voices) -> list[dict[str, Any]]:
    """What --json prints of them."""
    return [
        {"tenant": tenant_id, "adapter": name, **result_document(voices.results[name])}
        for tenant_id, name in _TENANTS
    ]


def print_voices(voices: Voices | None, out: TextIO) -> None:
    """For people."""
    if voices is None:
        print("The adapters of the three voices are for smollm2, not for this model.", file=out)
        return
    print("One question to three tenants, each with an adapter of its own, in one batch", file=out)
    print(f"  all       {QUESTION}", file=out)
    for tenant_id, name in _TENANTS:
        text = voices.results[name].text.strip().replace("\n", "\n            ")
        print(f"  {tenant_id}  {text}  [{name}]", file=out)
    tokens = sum(result.timings.completion_tokens for result in voices.results.values())
    size = format_bytes(voices.adapter_bytes)
    print(f"  {tokens} tokens in {format_seconds(voices.seconds)}. The three adapters take {size} "
          "beside one copy of the weights.", file=out)  # fmt: skip
