"""What a caller gets when a request has ended."""

from __future__ import annotations

from dataclasses import dataclass

from realm.engine import TokenLogprobs
from realm.runtime.timings import Timings


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """One finished generation.

    text: all that the program streamed. token_ids: what its first session generated, without the
    token that ended it. prompt_token_ids: what that session was given. finish_reason: 'stop',
    'length', 'cancelled', or another word of the program's own. response: the bytes of
    realm_respond, None when the program gave none or none ran. logprobs: one for each of
    token_ids, None for a token that the program did not sample; None when they were not asked for.
    """

    text: str
    token_ids: tuple[int, ...]
    prompt_token_ids: tuple[int, ...]
    finish_reason: str
    timings: Timings
    response: bytes | None = None
    logprobs: tuple[TokenLogprobs | None, ...] | None = None
