"""The keywords of generate and stream, and the options that they become."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypedDict

from realm.config import GenerationOptions, SamplingParameters
from realm.errors import ConfigError

_SEED_BITS = 63


class GenerationKeywords(TypedDict, total=False):
    """Meanings and defaults as in GenerationOptions and SamplingParameters.

    seed: None (the default) draws one. stop: one text or several. logit_bias: token id to what
    is added to its logit. json_schema: as JSON text or as the mapping itself.
    """

    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    typical_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    seed: int | None
    logit_bias: Mapping[int, float]
    logprobs: int | None
    stop: str | Sequence[str]
    stop_token_ids: Sequence[int]
    ignore_eos: bool
    json_schema: str | bool | Mapping[str, Any] | None
    regex: str | None
    grammar: str | None
    draft_k: int | None


def generation_options(keywords: GenerationKeywords) -> GenerationOptions:
    """Raises ConfigError for a keyword that does not exist or a value out of its range."""
    given: dict[str, Any] = dict(keywords)
    sampling_names = {field.name for field in fields(SamplingParameters)}
    names = sampling_names | {field.name for field in fields(GenerationOptions)} - {"sampling"}
    for name in given:
        if name not in names:
            raise ConfigError(f"there is no option {name!r}")
    if given.get("seed") is None:
        given["seed"] = secrets.randbits(_SEED_BITS)
    try:
        stop = given.get("stop", ())
        given["stop"] = (stop,) if isinstance(stop, str) else tuple(stop)
        given["stop_token_ids"] = tuple(int(number) for number in given.get("stop_token_ids", ()))
        bias = given.get("logit_bias") or {}
        given["logit_bias"] = tuple((int(token), float(value)) for token, value in bias.items())
        schema = given.get("json_schema")
        if schema is not None and not isinstance(schema, str):
            given["json_schema"] = json.dumps(schema)
        sampling = SamplingParameters(
            **{name: given.pop(name) for name in list(given) if name in sampling_names}
        )
        return GenerationOptions(sampling=sampling, **given)
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ConfigError(f"an option has the wrong type: {error}") from None
