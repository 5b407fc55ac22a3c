"""POST /v1/chat/completions and POST /v1/completions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from realm.server.definitions import Tenant
from realm.server.front.disconnect import EventStream, Write, unless_gone
from realm.server.front.engine_port import GenerateCall
from realm.server.front.identity import Identity
from realm.server.front.openai.adapters import resolve
from realm.server.front.openai.answers import (
    AssistantMessage,
    ChatChoice,
    ChatCompletion,
    Completion,
    CompletionChoice,
    Heading,
    finish_reason,
    json_response,
    new_heading,
    usage_of,
)
from realm.server.front.openai.bodies import read_body
from realm.server.front.openai.choices import Choices
from realm.server.front.openai.frames import DONE, ChatFrames, CompletionFrames, Frames
from realm.server.front.openai.logprobs import chat_logprobs, completion_logprobs
from realm.server.front.openai.options import chat_options, completion_options, seed_of
from realm.server.front.openai.prompts import Prompt, chat_messages, check_choices, prompts_of
from realm.server.front.openai.requests import (
    ChatRequest,
    CompletionRequest,
    GenerationRequest,
    RealmOptions,
)
from realm.server.front.request_id import request_id_of
from realm.server.front.services import Services
from realm.server.wire.messages import Finished

CHAT_PATH = "/v1/chat/completions"
COMPLETION_PATH = "/v1/completions"
_NO_REALM = RealmOptions()


class CompletionHandlers:
    """Handlers of the two routes."""

    def __init__(self, services: Services, version: str) -> None:
        """version: of Realm; part of the fingerprint that answers carry."""
        self._services = services
        self._version = version
        self._chat = msgspec.json.Decoder(ChatRequest)
        self._completion = msgspec.json.Decoder(CompletionRequest)

    async def chat(self, request: Request, identity: Identity) -> Response:
        """Raises what `failures` tells clients."""
        body = await read_body(request, self._chat)
        tenant = _tenant(identity)
        messages = chat_messages(body)
        options = chat_options(body, self._most_tokens(tenant))
        call = self._call(tenant, body, {"messages": messages}, options)
        choices = self._choices(request, tenant, _repeated([call], body.n or 1), CHAT_PATH)
        heading = self._heading("chatcmpl", body)
        if body.stream:
            return _streamed(choices, body, ChatFrames(heading, includes_usage=_has_usage(body)))
        finished = await unless_gone(request.receive, choices.results())
        return json_response(_chat_completion(heading, finished))

    async def completion(self, request: Request, identity: Identity) -> Response:
        """Raises what `failures` tells clients."""
        body = await read_body(request, self._completion)
        tenant = _tenant(identity)
        prompts = prompts_of(body.prompt, "prompt")
        check_choices(len(prompts), body.n or 1)
        options = completion_options(body, self._most_tokens(tenant))
        calls = [self._call(tenant, body, _prompt(each), options) for each in prompts]
        calls = _repeated(calls, body.n or 1)
        choices = self._choices(request, tenant, calls, COMPLETION_PATH)
        heading = self._heading("cmpl", body)
        if body.stream:
            frames = CompletionFrames(heading, includes_usage=_has_usage(body))
            return _streamed(choices, body, frames)
        finished = await unless_gone(request.receive, choices.results())
        return json_response(_completion(heading, finished, body.n or 1))

    def _call(
        self,
        tenant: Tenant,
        body: GenerationRequest,
        prompt: dict[str, Any],
        options: dict[str, Any],
    ) -> GenerateCall:
        directory = self._services.directory
        model, adapters = resolve(directory, tenant, body.model, body.realm)
        return GenerateCall(
            tenant.tenant_id,
            model,
            **prompt,
            adapters=adapters,
            program=(body.realm or _NO_REALM).program,
            options=options,
            wants_pieces=bool(body.stream),
        )

    def _choices(
        self, request: Request, tenant: Tenant, calls: Sequence[GenerateCall], route: str
    ) -> Choices:
        return Choices(self._services, tenant, calls, route, request_id_of(request))

    def _heading(self, prefix: str, body: GenerationRequest) -> Heading:
        named = f"{self._version}/{body.model}"
        fingerprint = hashlib.sha256(named.encode()).hexdigest()[:10]
        return new_heading(prefix, body.model, f"fp_{fingerprint}")

    def _most_tokens(self, tenant: Tenant) -> int | None:
        return tenant.limits.max_tokens or self._services.settings.limits.max_tokens


def _tenant(identity: Identity) -> Tenant:
    assert identity.tenant is not None
    return identity.tenant


def _prompt(prompt: Prompt) -> dict[str, Any]:
    return {"prompt": prompt} if isinstance(prompt, str) else {"token_ids": prompt}


def _repeated(calls: Sequence[GenerateCall], n: int) -> list[GenerateCall]:
    """Each call n times, with seeds that count up."""
    return [
        replace(call, options=seed_of(call.options, choice))
        for call in calls
        for choice in range(n)
    ]


def _has_usage(body: GenerationRequest) -> bool:
    return body.stream_options is not None and bool(body.stream_options.include_usage)


def _streamed(choices: Choices, body: GenerationRequest, frames: Frames) -> EventStream:
    async def produce(write: Write) -> None:
        opened: set[int] = set()
        finished: dict[int, Finished] = {}
        async with aclosing(choices.pieces()) as pieces:
            async for index, item in pieces:
                opening = b""
                if index not in opened:
                    opened.add(index)
                    opening = frames.opening(index)
                if isinstance(item, Finished):
                    finished[index] = item
                    end = opening + frames.closing(index, finish_reason(item))
                    if len(finished) == len(choices.calls):
                        if _has_usage(body):
                            ordered = [finished[place] for place in sorted(finished)]
                            end += frames.usage(usage_of(ordered, body.n or 1))
                        end += DONE
                    await write(end)
                elif item.text or item.logprobs:
                    await write(opening + frames.text(index, item))
                elif opening:
                    await write(opening)

    return EventStream(produce, DONE)


def _chat_completion(heading: Heading, finished: list[Finished]) -> ChatCompletion:
    choices = [
        ChatChoice(
            index,
            AssistantMessage("assistant", each.text),
            finish_reason(each),
            None if each.logprobs is None else chat_logprobs(each.logprobs),
        )
        for index, each in enumerate(finished)
    ]
    return ChatCompletion(
        heading.id,
        "chat.completion",
        heading.created,
        heading.model,
        heading.system_fingerprint,
        choices,
        usage_of(finished, len(finished)),
    )


def _completion(heading: Heading, finished: list[Finished], n: int) -> Completion:
    choices = [
        CompletionChoice(
            index,
            each.text,
            finish_reason(each),
            None if each.logprobs is None else completion_logprobs(each.logprobs, 0),
        )
        for index, each in enumerate(finished)
    ]
    return Completion(
        heading.id,
        "text_completion",
        heading.created,
        heading.model,
        heading.system_fingerprint,
        choices,
        usage_of(finished, n),
    )
