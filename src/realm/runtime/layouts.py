"""The C structures that guests pass by pointer, and how they become options. Reads no memory."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from realm.config import SamplingParameters

# max_tokens, temperature, top_p, top_k, repetition_penalty, seed, stop_token_count, 3 unused bytes,
# stop_tokens_ptr. Natural alignment.
GEN_OPTIONS = struct.Struct("<IffIfIB3xI")
# temperature, top_p, top_k, min_p, repetition, presence, frequency, 4 unused bytes, seed.
SAMPLE_PARAMETERS = struct.Struct("<ffIffff4xQ")


@dataclass(frozen=True, slots=True)
class GenOptions:
    """`realm_gen_options`: max_tokens 0 takes the request's own; stop tokens are not read yet."""

    max_tokens: int
    sampling: SamplingParameters
    stop_token_count: int
    stop_tokens_pointer: int


def read_gen_options(data: bytes, defaults: SamplingParameters) -> GenOptions:
    """`data`: GEN_OPTIONS.size bytes. Raises ConfigError when a value is out of its range."""
    (max_tokens, temperature, top_p, top_k, repetition_penalty, seed, stop_count, stop_pointer) = (
        GEN_OPTIONS.unpack(data)
    )
    sampling = replace(
        defaults,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        repetition_penalty=repetition_penalty,
        seed=seed,
    )
    return GenOptions(max_tokens, sampling, stop_count, stop_pointer)


def read_sample_parameters(data: bytes, defaults: SamplingParameters) -> SamplingParameters:
    """`data`: SAMPLE_PARAMETERS.size bytes; what it has no place for stays as in `defaults`.

    Raises ConfigError when a value is out of its range.
    """
    (temperature, top_p, top_k, min_p, repetition, presence, frequency, seed) = (
        SAMPLE_PARAMETERS.unpack(data)
    )
    return replace(
        defaults,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition,
        presence_penalty=presence,
        frequency_penalty=frequency,
        seed=seed,
    )
