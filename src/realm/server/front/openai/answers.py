"""What clients get, as OpenAI's clients read it."""

from __future__ import annotations

import time
from typing import Literal

import msgspec
from starlette.responses import Response

from realm.server.front.request_id import new_id
from realm.server.wire.messages import Finished

FinishReason = Literal["stop", "length"]
_NO_STORE = {"cache-control": "no-store"}


class Usage(msgspec.Struct, frozen=True):
    """Tokens. A prompt counts once, however many answers it has."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TopLogprob(msgspec.Struct, frozen=True):
    """A token that was likely at one place."""

    token: str
    logprob: float
    bytes: list[int]


class ChatLogprob(msgspec.Struct, frozen=True):
    """A token of the answer."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


class ChatLogprobs(msgspec.Struct, frozen=True):
    """One entry for each token."""

    content: list[ChatLogprob]
    refusal: None = None


class AssistantMessage(msgspec.Struct, frozen=True):
    """The answer to a conversation."""

    role: Literal["assistant"]
    content: str
    refusal: None = None


class ChatChoice(msgspec.Struct, frozen=True):
    """One of several answers."""

    index: int
    message: AssistantMessage
    finish_reason: FinishReason
    logprobs: ChatLogprobs | None = None


class ChatCompletion(msgspec.Struct, frozen=True):
    """The answer to `POST /v1/chat/completions`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: Usage


class CompletionLogprobs(msgspec.Struct, frozen=True):
    """Lists with one entry for each token. text_offset: where its text begins in the answer's."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(msgspec.Struct, frozen=True):
    """One of several answers."""

    index: int
    text: str
    finish_reason: FinishReason
    logprobs: CompletionLogprobs | None = None


class Completion(msgspec.Struct, frozen=True):
    """The answer to `POST /v1/completions`."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    usage: Usage


class ModelCard(msgspec.Struct, frozen=True):
    """A model that the tenant may use, perhaps with an adapter: `model:adapter`."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(msgspec.Struct, frozen=True):
    """The answer to `GET /v1/models`."""

    object: Literal["list"]
    data: list[ModelCard]


class Embedding(msgspec.Struct, frozen=True):
    """embedding: numbers, or float32 in little-endian order as base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(msgspec.Struct, frozen=True):
    """Tokens."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(msgspec.Struct, frozen=True):
    """The answer to `POST /v1/embeddings`."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class Heading(msgspec.Struct, frozen=True):
    """What all chunks of an answer begin with. created: seconds since 1970."""

    id: str
    created: int
    model: str
    system_fingerprint: str


def new_heading(prefix: str, model: str, fingerprint: str) -> Heading:
    """prefix: of the id. model: as the client called it."""
    return Heading(f"{prefix}-{new_id()}", int(time.time()), model, fingerprint)


def usage_of(finished: list[Finished], per_prompt: int) -> Usage:
    """finished: of all answers, those to the same prompt together, per_prompt of them each."""
    prompt = sum(each.prompt_token_count for each in finished[::per_prompt])
    completion = sum(len(each.token_ids) for each in finished)
    return Usage(prompt, completion, prompt + completion)


def finish_reason(finished: Finished) -> FinishReason:
    """As OpenAI calls it."""
    return "length" if finished.finish_reason == "length" else "stop"


def json_response(answer: msgspec.Struct) -> Response:
    """The answer as JSON."""
    content = msgspec.json.encode(answer)
    return Response(content, media_type="application/json", headers=_NO_STORE)
