"""`realm demo`: a small model answers through a tenant's WASM program, and shows where time goes.

Then one answer comes twice, without drafts and with them, and three tenants ask the same question,
each through an adapter of its own. It fails (exit code 1) when the first answer does not name
Paris, when a draft changes a text, or when two of the three tenants' answers are the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from realm.cli.arguments import add_directory_argument, add_engine_arguments, add_json_argument
from realm.cli.context import Context
from realm.cli.drafts import answer_twice, drafted_document, print_drafted
from realm.cli.model_file import find_model_file
from realm.cli.presentation import (
    format_bytes,
    format_rate,
    format_rows,
    format_seconds,
    print_json,
)
from realm.cli.process_memory import peak_memory_bytes
from realm.cli.run import result_document
from realm.cli.voices import ask_voices, print_voices, voices_document
from realm.config import EngineConfig, ModelConfig

if TYPE_CHECKING:
    from realm.runtime import GenerationResult, TenantRuntime

_SYSTEM = "Answer every question in one short sentence."
_QUESTION = "What is the capital of France?"
_EXPECTED = "Paris"
_CONVERSATION = (
    "What is the capital of Japan?",
    "What language do people speak there?",
    "Name one famous building there.",
)
_MAX_TOKENS = 64

Message = dict[str, str]


def configure(parser: argparse.ArgumentParser) -> None:
    """See `realm.cli.main.Command`."""
    parser.add_argument("--model", default="smollm2", metavar="NAME|PATH", help="(smollm2)")
    add_directory_argument(parser)
    add_engine_arguments(parser)
    add_json_argument(parser)


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """See `realm.cli.main.Command`."""
    out = context.stdout
    path = find_model_file(arguments, context)
    started = time.perf_counter()
    with context.open_runtime(EngineConfig(threads=arguments.threads)) as runtime:
        configuration = ModelConfig(path)
        tenant = runtime.get_or_create_runtime_with_model("demo", configuration)
        load_seconds = time.perf_counter() - started
        weights_bytes = runtime.models[configuration.name].size_bytes
        if not arguments.json:
            print(f"{path.name}: {format_bytes(weights_bytes)}, ready in "
                  f"{format_seconds(load_seconds)}. Every answer below is orchestrated by the "
                  "tenant's WASM program.\n", file=out)  # fmt: skip
        results = [_ask(tenant, [_system(), _user(_QUESTION)], arguments, context)]
        results += _converse(tenant, arguments, context)
        summary = _summary(results, load_seconds, weights_bytes)
        if not arguments.json:
            out.write(_table(summary) + "\n")
        drafted = answer_twice(runtime, configuration)
        if not arguments.json:
            print_drafted(drafted, out)
        voices = ask_voices(runtime, configuration)
    errors = []
    if _EXPECTED not in results[0].text:
        errors.append(f"the first answer does not name {_EXPECTED}")
    if not drafted.same:
        errors.append("a draft changed a text")
    if voices is not None and not voices.differ:
        errors.append("two tenants with different adapters got the same answer")
    if arguments.json:
        answers = [result_document(result) for result in results]
        spoken = None if voices is None else voices_document(voices)
        document = {
            "answers": answers,
            "summary": summary,
            "drafts": drafted_document(drafted),
            "voices": spoken,
        }
        print_json({**document, "passed": not errors}, out)
    else:
        print_voices(voices, out)
    for error in errors:
        print(f"error: {error}", file=context.stderr)
    return 1 if errors else 0


def _converse(
    tenant: TenantRuntime, arguments: argparse.Namespace, context: Context
) -> list[GenerationResult]:
    """Three turns, each of which sees the ones before it."""
    messages = [_system()]
    results = []
    for text in _CONVERSATION:
        messages.append(_user(text))
        results.append(_ask(tenant, messages, arguments, context))
        messages.append({"role": "assistant", "content": results[-1].text})
    return results


def _ask(
    tenant: TenantRuntime,
    messages: Sequence[Message],
    arguments: argparse.Namespace,
    context: Context,
) -> GenerationResult:
    stream = tenant.stream(messages=list(messages), max_tokens=_MAX_TOKENS, temperature=0.0)
    if not arguments.json:
        context.stdout.write(f"  you    {messages[-1]['content']}\n  model  ")
    for piece in stream:
        if not arguments.json:
            context.stdout.write(piece.text.replace("\n", "\n         "))
            context.stdout.flush()
    if not arguments.json:
        context.stdout.write("\n\n")
    return stream.result


def _system() -> Message:
    return {"role": "system", "content": _SYSTEM}


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _summary(
    results: Sequence[GenerationResult], load_seconds: float, weights_bytes: int
) -> dict[str, Any]:
    """Sums over all answers, seconds and bytes."""

    def total(name: str) -> float:
        return float(sum(getattr(result.timings, name) for result in results))

    return {
        "prompt_tokens": int(total("prompt_tokens")),
        "completion_tokens": int(total("completion_tokens")),
        # Decode begins after each answer's first token.
        "decode_tokens": int(total("completion_tokens")) - len(results),
        "first_token_seconds": results[0].timings.first_token_seconds,
        "load_seconds": load_seconds,
        "queue_seconds": total("queue_seconds"),
        "prefill_seconds": total("prefill_seconds"),
        "decode_seconds": total("decode_seconds"),
        "native_seconds": total("native_seconds"),
        "guest_seconds": total("guest_seconds"),
        "total_seconds": total("total_seconds"),
        "weights_bytes": weights_bytes,
        "peak_rss_bytes": peak_memory_bytes(),
    }


def _table(summary: dict[str, Any]) -> str:
    decode = format_rate(summary["decode_tokens"], summary["decode_seconds"])
    prefill = format_rate(summary["prompt_tokens"], summary["prefill_seconds"])
    speed = [
        ("decode", decode, f"{summary['completion_tokens']} tokens"),
        ("prefill", prefill, f"{summary['prompt_tokens']} tokens"),
        ("first token", format_seconds(summary["first_token_seconds"]), "of the first answer"),
    ]
    memory = [
        ("weights", format_bytes(summary["weights_bytes"])),
        ("peak, whole process", format_bytes(summary["peak_rss_bytes"])),
    ]
    answers = summary["total_seconds"]
    inside = summary["native_seconds"] + summary["guest_seconds"]
    parts = [
        ("queue", summary["queue_seconds"], ""),
        ("prefill", summary["prefill_seconds"], "with template, tokenizer and the guest's start"),
        ("decode", summary["decode_seconds"], ""),
        ("  native steps", summary["native_seconds"], "all weights and the cache"),
        ("  guest and host calls", summary["guest_seconds"], "the tenant's program"),
        ("  scheduling and the rest", max(answers - inside, 0.0), ""),
    ]
    where = [("load", format_seconds(summary["load_seconds"]), "", "once, before the answers")]
    where += [
        (name, format_seconds(seconds), f"{seconds / answers:6.1%}" if answers > 0 else "", note)
        for name, seconds, note in parts
    ]
    return (
        f"Speed\n{format_rows(speed)}\nMemory\n{format_rows(memory)}\n"
        f"Where the time went\n{format_rows(where)}"
        "Percentages are of the answers' time; the indented rows split it another way.\n"
    )
