"""Log probabilities in the two shapes that OpenAI's API has for them."""

from __future__ import annotations

from collections.abc import Sequence

from realm.server.front.openai.answers import (
    ChatLogprob,
    ChatLogprobs,
    CompletionLogprobs,
    TopLogprob,
)
from realm.server.wire.messages import TokenLogprob

_LEAST = -9999.0  # what OpenAI's API gives for a probability of nothing; JSON has no infinity


def chat_logprobs(tokens: Sequence[TokenLogprob]) -> ChatLogprobs:
    """For chat completions."""
    return ChatLogprobs(
        [
            ChatLogprob(
                _text(each.data),
                _finite(each.logprob),
                list(each.data),
                [
                    TopLogprob(_text(data), _finite(value), list(data))
                    for _, data, value in each.top
                ],
            )
            for each in tokens
        ]
    )


def completion_logprobs(tokens: Sequence[TokenLogprob], offset: int) -> CompletionLogprobs:
    """For completions. offset: of the first token's text in the answer's, in characters."""
    texts, offsets = [], []
    for each in tokens:
        text = _text(each.data)
        texts.append(text)
        offsets.append(offset)
        offset += len(text)
    return CompletionLogprobs(
        texts,
        [_finite(each.logprob) for each in tokens],
        [{_text(data): _finite(value) for _, data, value in each.top} for each in tokens],
        offsets,
    )


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _finite(value: float) -> float:
    return value if value > _LEAST else _LEAST
