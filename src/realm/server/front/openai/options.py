"""From a request's fields to what the engine is asked: keywords of TenantRuntime.generate."""

from __future__ import annotations

import json
from typing import Any

from realm.errors import FieldError
from realm.server.front.openai.requests import (
    ChatRequest,
    CompletionRequest,
    GenerationRequest,
    RealmOptions,
    ResponseFormat,
)

_COMPLETION_TOKENS = 16  # OpenAI's default
_CHAT_TOKENS = 4096
_LEAST_SHARE = 1e-9
_NO_REALM = RealmOptions()


def chat_options(request: ChatRequest, most_tokens: int | None) -> dict[str, Any]:
    """most_tokens: that the tenant may have. Raises FieldError."""
    asked = request.max_completion_tokens or request.max_tokens or _CHAT_TOKENS
    options = _options(request, asked, most_tokens)
    if request.top_logprobs is not None and not request.logprobs:
        raise FieldError("top_logprobs: wants logprobs to be true", "top_logprobs")
    if request.logprobs:
        options["logprobs"] = request.top_logprobs or 0
    return options


def completion_options(request: CompletionRequest, most_tokens: int | None) -> dict[str, Any]:
    """most_tokens: that the tenant may have. Raises FieldError."""
    for name in ("echo", "suffix"):
        if getattr(request, name):
            raise FieldError(f"{name}: is not offered", name)
    if request.best_of is not None and request.best_of != (request.n or 1):
        raise FieldError("best_of: is not offered; n gives several answers", "best_of")
    options = _options(request, request.max_tokens or _COMPLETION_TOKENS, most_tokens)
    if request.logprobs is not None:
        options["logprobs"] = request.logprobs
    return options


def seed_of(options: dict[str, Any], choice: int) -> dict[str, Any]:
    """The options of one of several answers to the same prompt: seeds count up."""
    if not choice or "seed" not in options:
        return options
    return {**options, "seed": (options["seed"] + choice) % (1 << 64)}


def _options(
    request: GenerationRequest, asked_tokens: int, most_tokens: int | None
) -> dict[str, Any]:
    own = request.realm or _NO_REALM
    options: dict[str, Any] = {
        "max_tokens": asked_tokens if most_tokens is None else min(asked_tokens, most_tokens),
        "temperature": 1.0 if request.temperature is None else request.temperature,
        # 0 is taken by OpenAI and means the most likely token alone.
        "top_p": 1.0 if request.top_p is None else max(request.top_p, _LEAST_SHARE),
    }
    for name in ("presence_penalty", "frequency_penalty"):
        if (value := getattr(request, name)) is not None:
            options[name] = value
    for name in ("top_k", "min_p", "typical_p", "repetition_penalty"):
        if (value := getattr(own, name)) is not None:
            options[name] = value
    if request.seed is not None:
        options["seed"] = request.seed % (1 << 64)
    if request.stop:
        options["stop"] = [request.stop] if isinstance(request.stop, str) else request.stop
    if request.logit_bias:
        options["logit_bias"] = _logit_bias(request.logit_bias)
    if own.speculation is not None and own.speculation is not True:
        options["draft_k"] = int(own.speculation)
    options.update(_constraint(request.response_format, own))
    return options


def _logit_bias(given: dict[str, float]) -> dict[int, float]:
    bias = {int(token): value for token, value in given.items()}
    if len(bias) != len(given):
        raise FieldError("logit_bias: names a token twice", "logit_bias")
    return bias


def _constraint(answer: ResponseFormat | None, own: RealmOptions) -> dict[str, str]:
    """At most one of json_schema, regex and grammar."""
    found = {}
    if own.regex is not None:
        found["regex"] = own.regex
    if own.grammar is not None:
        found["grammar"] = own.grammar
    if answer is not None and answer.type != "text":
        found["json_schema"] = _schema(answer)
    if len(found) > 1:
        names = {"json_schema": "response_format"}
        text = " and ".join(names.get(name, f"realm.{name}") for name in found)
        raise FieldError(f"{text} exclude each other", "realm")
    return found


def _schema(answer: ResponseFormat) -> str:
    if answer.type == "json_object":
        return '{"type": "object"}'
    place = "response_format.json_schema"
    if answer.json_schema is None:
        raise FieldError(f"{place}: is missing", place)
    raw = answer.json_schema.schema
    if not bytes(raw):
        raise FieldError(f"{place}.schema: is missing", f"{place}.schema")
    text = bytes(raw).decode()
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise FieldError(f"{place}.schema: is not a JSON object", f"{place}.schema")
    return text
