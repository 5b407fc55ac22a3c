"""`realm run`: text from a model, once, or as a chat that goes on while someone writes."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.cli.arguments import (
    add_cache_precision_argument,
    add_constraint_arguments,
    add_engine_arguments,
    add_json_argument,
    add_model_arguments,
    add_sampling_arguments,
    text_or_file,
)
from realm.cli.context import Context
from realm.cli.model_file import find_model_file
from realm.cli.presentation import format_rate, format_seconds, print_json
from realm.config import EngineConfig, ModelConfig

if TYPE_CHECKING:
    from realm.runtime import GenerationResult, TenantRuntime

_TENANT = "command-line"
_LEAVE = ("/exit", "/quit")


def configure(parser: argparse.ArgumentParser) -> None:
    """See `realm.cli.main.Command`."""
    add_model_arguments(parser)
    parser.add_argument("--prompt", "-p", metavar="TEXT", help="what to continue, or to answer")
    parser.add_argument(
        "--chat",
        action="store_true",
        help="put the prompt through the model's chat template; without --prompt, converse",
    )
    parser.add_argument("--system", metavar="TEXT", help="a system message (with --chat)")
    add_sampling_arguments(parser, max_tokens=256)
    add_constraint_arguments(parser)
    add_cache_precision_argument(parser)
    add_engine_arguments(parser)
    parser.add_argument("--direct", action="store_true", help="leave the tenant's WASM program out")
    parser.add_argument("--draft", type=Path, metavar="D", help="a draft model's GGUF file")
    add_json_argument(parser)
    parser.set_defaults(parser=parser)


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """See `realm.cli.main.Command`."""
    parser: argparse.ArgumentParser = arguments.parser
    if arguments.prompt is None and not arguments.chat:
        parser.error("--prompt is needed, or --chat for a conversation")
    if arguments.prompt is None and arguments.json:
        parser.error("--json needs --prompt")
    if arguments.system is not None and not arguments.chat:
        parser.error("--system needs --chat")
    path = find_model_file(arguments, context)
    engine = EngineConfig(threads=arguments.threads, cache_precision=arguments.cache_precision)
    with context.open_runtime(engine) as runtime:
        tenant = runtime.get_or_create_runtime_with_model(
            _TENANT, ModelConfig(path, draft_model_path=arguments.draft)
        )
        if arguments.prompt is None:
            _converse(tenant, arguments, context)
        elif arguments.json:
            result = tenant.generate(**_request(arguments), **generation_keywords(arguments))
            print_json(result_document(result), context.stdout)
        else:
            _answer(tenant, _request(arguments), arguments, context)
    return 0


def result_document(result: GenerationResult) -> dict[str, Any]:
    """What --json prints of a generation."""
    document = {
        "text": result.text,
        "token_ids": list(result.token_ids),
        "prompt_token_ids": list(result.prompt_token_ids),
        "finish_reason": result.finish_reason,
        "timings": asdict(result.timings),
    }
    if result.logprobs is not None:
        document["logprobs"] = [None if each is None else asdict(each) for each in result.logprobs]
    return document


def statistics_line(result: GenerationResult) -> str:
    """One line for people: tokens, time to the first one, speeds."""
    timings = result.timings
    return (
        f"[{timings.prompt_tokens} + {timings.completion_tokens} tokens, "
        f"{result.finish_reason}; first after {format_seconds(timings.first_token_seconds)}; "
        f"prefill {format_rate(timings.prompt_tokens, timings.prefill_seconds)}, "
        f"decode {format_rate(timings.completion_tokens - 1, timings.decode_seconds)}]"
    )


def _request(arguments: argparse.Namespace) -> dict[str, Any]:
    if not arguments.chat:
        return {"prompt": arguments.prompt}
    return {"messages": [*_system_messages(arguments), _user_message(arguments.prompt)]}


def generation_keywords(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the generation options, as arguments, are as keywords of `TenantRuntime.generate`."""
    return {
        "max_tokens": arguments.max_tokens,
        "temperature": arguments.temperature,
        "top_p": arguments.top_p,
        "top_k": arguments.top_k,
        "min_p": arguments.min_p,
        "typical_p": arguments.typical_p,
        "repetition_penalty": arguments.repetition_penalty,
        "presence_penalty": arguments.presence_penalty,
        "frequency_penalty": arguments.frequency_penalty,
        "seed": arguments.seed,
        "logit_bias": dict(arguments.logit_bias),
        "logprobs": arguments.logprobs,
        "json_schema": text_or_file(arguments.json_schema),
        "regex": arguments.regex,
        "grammar": text_or_file(arguments.grammar),
        "stop": tuple(arguments.stop),
        "draft_k": arguments.draft_k,
        "direct": arguments.direct,
    }


def _converse(tenant: TenantRuntime, arguments: argparse.Namespace, context: Context) -> None:
    messages = _system_messages(arguments)
    terminal = context.stdin.isatty()
    if terminal:
        print(f"{_LEAVE[0]} or Ctrl-D ends the conversation.", file=context.stderr)
    while True:
        if terminal:
            context.stderr.write("> ")
            context.stderr.flush()
        line = context.stdin.readline()
        if not line or line.strip() in _LEAVE:
            return
        if not line.strip():
            continue
        messages.append(_user_message(line.strip()))
        text = _answer(tenant, {"messages": messages}, arguments, context)
        messages.append({"role": "assistant", "content": text})


def _answer(
    tenant: TenantRuntime, request: dict[str, Any], arguments: argparse.Namespace, context: Context
) -> str:
    """Stream one answer to stdout, its statistics to stderr; the answer's text."""
    stream = tenant.stream(**request, **generation_keywords(arguments))
    for piece in stream:
        context.stdout.write(piece.text)
        context.stdout.flush()
    context.stdout.write("\n")
    context.stdout.flush()
    print(statistics_line(stream.result), file=context.stderr)
    return stream.result.text


def _system_messages(arguments: argparse.Namespace) -> list[dict[str, str]]:
    if arguments.system is None:
        return []
    return [{"role": "system", "content": arguments.system}]


def _user_message(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}
