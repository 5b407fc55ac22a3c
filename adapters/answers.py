"""What a model answers through Realm: many questions in one batch, always its likeliest words."""

from __future__ import annotations

from collections.abc import Sequence

from realm import GenerationResult, TenantRuntime

_MAX_TOKENS = 64
_AT_ONCE = 16


def ask(
    tenant: TenantRuntime,
    questions: Sequence[str],
    *,
    system: str | None = None,
    adapter: str | None = None,
) -> list[GenerationResult]:
    """One result a question, in their order.

    system: a message before each question; without one the chat template may have its own.
    """
    before = [] if system is None else [{"role": "system", "content": system}]
    results: list[GenerationResult] = []
    for begin in range(0, len(questions), _AT_ONCE):
        streams = [
            tenant.stream(
                messages=[*before, {"role": "user", "content": question}],
                max_tokens=_MAX_TOKENS,
                temperature=0.0,
                adapters=adapter or (),
            )
            for question in questions[begin : begin + _AT_ONCE]
        ]
        for stream in streams:
            for _ in stream:
                pass
            results.append(stream.result)
    return results
