"""A small client of Realm's WebSocket protocol: one file to copy; needs the package `websockets`.

    async with RealmClient("ws://127.0.0.1:8000/ws", api_key=key) as client:
        print((await client.generate("The capital of France is", max_tokens=8))["text"])
        async for piece in client.stream("Once upon a time"):
            print(piece["text"], end="", flush=True)

Calls of one client may run side by side; each is answered under its own id.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed


class CallError(Exception):
    """The server refused or failed a call. code: one of RATE_LIMIT_EXCEEDED, UNAUTHORIZED,
    DISPATCH_ERROR, INVALID_PARAMS, INTERNAL_ERROR. retry_after: seconds, or None."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error.get('code')}: {error.get('message')}")
        self.code: str = error.get("code", "")
        self.message: str = error.get("message", "")
        self.details: dict[str, Any] = error.get("details") or {}
        self.retry_after: float | None = error.get("retry_after")


class CallCancelledError(Exception):
    """The call was cancelled before it ended."""


class ConnectionLostError(Exception):
    """The connection is closed, or never came to be: a wrong key, for instance."""


class RealmClient:
    """Use: `async with RealmClient(...) as client`."""

    def __init__(
        self, url: str, *, api_key: str | None = None, tenant_id: str | None = None
    ) -> None:
        """url: ws://host:port/ws or wss://host/ws. tenant_id: sent with every call, if given."""
        self._url = url
        self._api_key = api_key
        self._named_tenant = tenant_id
        self._ids = itertools.count(1)
        self._answers: dict[str, asyncio.Queue[dict[str, Any] | None]] = {}
        self._connection: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self.tenant_id: str = ""
        self.version: str = ""

    async def __aenter__(self) -> RealmClient:
        self._connection = await connect(self._url, max_size=None)
        try:
            await self._introduce(self._connection)
        except BaseException:
            await self._connection.close()
            raise
        self._reader = asyncio.create_task(self._read(self._connection))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._connection is not None and self._reader is not None
        await self._connection.close()
        await self._reader

    async def generate(self, prompt: str, **params: Any) -> dict[str, Any]:
        """{text, tokens_generated, prompt_tokens, time_ms}. params: model, max_tokens,
        temperature, top_p, top_k, repetition_penalty, ..."""
        return await self.call("generate", {"prompt": prompt, **params, "stream": False})

    async def stream(self, prompt: str, **params: Any) -> AsyncIterator[dict[str, Any]]:
        """Frames {token, text, index, logprob?, is_final}. Leaving the loop and closing the
        iterator cancels the call."""
        call_id = await self._begin("generate", {"prompt": prompt, **params, "stream": True})
        has_ended = False
        try:
            while True:
                frame = await self._next(call_id)
                if frame["status"] != "streaming":
                    has_ended = True
                    _data_of(frame)
                    return
                yield frame["data"]
        finally:
            del self._answers[call_id]
            if not has_ended:
                await self._send(self._call("cancel", {"id": call_id}))

    async def pipeline(self, pipeline: str, given: Any) -> dict[str, Any]:
        """{output, steps, ...}. given: the pipeline's inputs by name."""
        return await self.call("pipeline", {"pipeline": pipeline, "input": given})

    async def health(self) -> dict[str, Any]:
        """{status, version, ...}."""
        return await self.call("health", {})

    async def metadata(self) -> dict[str, Any]:
        """{version, functions, ...}."""
        return await self.call("metadata", {})

    async def call(self, function: str, params: dict[str, Any]) -> dict[str, Any]:
        """The data of any function's answer. Raises CallError, CallCancelledError and
        ConnectionLostError."""
        call_id = await self._begin(function, params)
        has_ended = False
        try:
            while True:
                frame = await self._next(call_id)
                if frame["status"] != "streaming":
                    has_ended = True
                    return _data_of(frame)
        finally:
            del self._answers[call_id]
            if not has_ended:
                await self._send(self._call("cancel", {"id": call_id}))

    async def _introduce(self, connection: ClientConnection) -> None:
        try:
            frame = json.loads(await connection.recv())
            if frame.get("type") == "auth_required":
                key = {"type": "auth", "api_key": self._api_key or ""}
                await connection.send(json.dumps(key))
                frame = json.loads(await connection.recv())
                if frame.get("type") != "auth_success":
                    raise ConnectionLostError(frame.get("error", "the key was refused"))
                frame = json.loads(await connection.recv())
        except ConnectionClosed as error:
            raise ConnectionLostError(str(error)) from error
        self.tenant_id, self.version = frame["tenant_id"], frame["version"]

    async def _read(self, connection: ClientConnection) -> None:
        try:
            async for text in connection:
                frame = json.loads(text)
                answer = self._answers.get(frame.get("id"))
                if answer is not None:
                    answer.put_nowait(frame)
        except ConnectionClosed:
            pass
        for answer in self._answers.values():
            answer.put_nowait(None)

    def _call(self, function: str, params: dict[str, Any]) -> dict[str, Any]:
        call = {"id": f"call-{next(self._ids)}", "function": function, "params": params}
        return call if self._named_tenant is None else call | {"tenant_id": self._named_tenant}

    async def _begin(self, function: str, params: dict[str, Any]) -> str:
        call = self._call(function, params)
        call_id: str = call["id"]
        self._answers[call_id] = asyncio.Queue()
        try:
            if not await self._send(call):
                raise ConnectionLostError("the connection is closed")
        except BaseException:
            del self._answers[call_id]
            raise
        return call_id

    async def _send(self, frame: dict[str, Any]) -> bool:
        """Whether the connection was still there."""
        assert self._connection is not None
        try:
            await self._connection.send(json.dumps(frame))
        except ConnectionClosed:
            return False
        return True

    async def _next(self, call_id: str) -> dict[str, Any]:
        frame = await self._answers[call_id].get()
        if frame is None:
            raise ConnectionLostError("the connection was closed before the answer was there")
        return frame


def _data_of(frame: dict[str, Any]) -> dict[str, Any]:
    if frame["status"] == "cancelled":
        raise CallCancelledError(frame["id"])
    if frame["status"] == "error":
        raise CallError(frame["error"])
    data: dict[str, Any] = frame["data"]
    return data
