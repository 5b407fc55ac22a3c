"""Speculation never changes a token: many prompts with every k, source and batch beside none.

    python benchmarks/speculation_exactness.py [--model NAME|PATH] [--draft PATH] [--prompts 200]

Prompts take turns through five kinds: greedy, sampled, with penalties, under a JSON schema, and
with a trained adapter. Every draft_k of 1..8 meets every one of them, a fifth of them at each
batch, from each source alone and from all together. Any difference ends the run with exit 1.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import command_line
import results

from realm.catalog import Catalog
from realm.config import EngineConfig, ModelConfig, SpeculativeConfig
from realm.distill.prompts import PromptMaker
from realm.runtime import RuntimeManager, TenantRuntime

ROOT = Path(__file__).resolve().parents[1]
BATCHES = (1, 2, 4, 8, 16)
SOURCES = {
    "suffix": SpeculativeConfig(history_tokens=0),
    "history": SpeculativeConfig(suffix=False),
    "model": SpeculativeConfig(suffix=False, history_tokens=0),
    "all": SpeculativeConfig(),
}
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"answer": {"type": "string", "maxLength": 60}, "sure": {"type": "boolean"}},
        "required": ["answer", "sure"],
    }
)
KINDS: tuple[dict[str, Any], ...] = (
    {"temperature": 0.0},
    {"temperature": 0.7, "top_p": 0.95},
    {"temperature": 0.3, "repetition_penalty": 1.1, "frequency_penalty": 0.1},
    {"temperature": 0.0, "json_schema": SCHEMA},
    {"temperature": 0.0, "adapters": "pirate"},
)
Answers = list[tuple[int, ...]]


def answers(
    tenant: TenantRuntime, conversations: Sequence[Any], tokens: int, draft_k: int
) -> Answers:
    """Token ids of every answer; the conversations in as many parts as there are batches."""

    def generate(number: int) -> tuple[int, ...]:
        kind = KINDS[number % len(KINDS)]
        return tenant.generate(
            messages=conversations[number], max_tokens=tokens, seed=number, draft_k=draft_k, **kind
        ).token_ids

    found: Answers = []
    share = -(-len(conversations) // len(BATCHES))
    for place, batch in enumerate(BATCHES):
        part = range(place * share, min((place + 1) * share, len(conversations)))
        with ThreadPoolExecutor(batch) as clients:
            found += clients.map(generate, part)
    return found


def open_tenant(manager: RuntimeManager, config: ModelConfig) -> TenantRuntime:
    """With the adapter of one kind."""
    tenant = manager.get_or_create_runtime_with_model("tenant", config)
    manager.lora.load("pirate", ROOT / "adapters" / "demo" / "pirate", "tenant")
    return tenant


def main() -> int:
    """Compare, print, write the result."""
    parser = command_line.parser(__doc__ or "", "model", "threads", "output")
    parser.add_argument("--draft", type=Path, default=ROOT / "drafts/smollm2-135m-instruct.gguf")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=32)
    arguments = parser.parse_args()
    document = results.begin(prompts=arguments.prompts, tokens=arguments.tokens)
    model = Catalog().obtain(arguments.model)
    maker = PromptMaker(Random(5))
    conversations = [maker.next() for _ in range(arguments.prompts)]

    def config(**changes: Any) -> EngineConfig:
        return EngineConfig(threads=arguments.threads, **changes)

    with RuntimeManager(config()) as manager:
        tenant = open_tenant(manager, ModelConfig(model, "model"))
        plain = answers(tenant, conversations, arguments.tokens, 0)
        assert manager.metrics()["tenant"].speculation.drafted == 0
    rows = []
    for source, speculation in SOURCES.items():
        draft = arguments.draft if source in {"model", "all"} else None
        with RuntimeManager(config(speculation=speculation)) as manager:
            tenant = open_tenant(manager, ModelConfig(model, "model", draft))
            drafted = accepted = 0
            for draft_k in range(1, 9):
                started = time.perf_counter()
                found = answers(tenant, conversations, arguments.tokens, draft_k)
                metrics = manager.metrics()["tenant"].speculation
                row = {
                    "source": source,
                    "draft_k": draft_k,
                    "different": sum(a != b for a, b in zip(found, plain, strict=True)),
                    "drafted": metrics.drafted - drafted,
                    "accepted": metrics.accepted - accepted,
                    "seconds": time.perf_counter() - started,
                }
                drafted, accepted = metrics.drafted, metrics.accepted
                rows.append(row)
                print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    document["rows"] = rows
    print(f"written: {results.write(document, 'speculation-exactness', arguments.output)}")
    return int(any(row["different"] or not row["drafted"] or not row["accepted"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
