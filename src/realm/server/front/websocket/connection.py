"""One client's connection: its key, its calls side by side, and their end when it goes away.

A frame is written only when those before it have left this process, so a client that does not
read stops its own generations and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from realm.errors import (
    CancelledError,
    RateLimitError,
    RealmError,
    RequestError,
    UnauthorizedError,
)
from realm.server.definitions import Tenant
from realm.server.front.identity import Identity
from realm.server.front.services import Services
from realm.server.front.websocket.call_errors import (
    INVALID_PARAMS,
    UnknownFunctionError,
    call_error,
)
from realm.server.front.websocket.connections import Connections
from realm.server.front.websocket.frames import (
    Call,
    FrameError,
    cancelled,
    complete,
    failed,
    read_call,
    read_key,
    streaming,
)
from realm.server.front.websocket.functions import FUNCTIONS, Caller, version

_LOGGER = logging.getLogger("realm.server.websocket")
_POLICY, _GOING_AWAY, _TRY_LATER = 1008, 1001, 1013  # of RFC 6455 and its registry
_GONE = (WebSocketDisconnect, WebSocketDisconnected)


class Connection:
    """Use: `await Connection(...).run(identity)`; it returns when all is over."""

    def __init__(
        self, websocket: WebSocket, services: Services, connections: Connections, request_id: str
    ) -> None:
        """request_id: for the log, in its lines of each call."""
        self._websocket = websocket
        self._services = services
        self._connections = connections
        self._request_id = request_id
        self._key: str | None = None
        self._sending = asyncio.Lock()
        self._calls: dict[str, _Running] = {}

    async def run(self, anonymous: Identity | None) -> None:
        """anonymous: whom a client without a key is, where keys are off."""
        with suppress(*_GONE):
            await self._websocket.accept()
            identity = anonymous or await self._authenticated()
            if identity is None or identity.tenant is None:
                return
            tenant_id = identity.tenant.tenant_id
            try:
                with self._connections.of_tenant(tenant_id):
                    await self._logged(tenant_id)
            except RateLimitError as error:
                await self._send(failed(None, call_error(error)))
                await self._close(_TRY_LATER)

    async def _authenticated(self) -> Identity | None:
        """None when the client has gone or was sent away."""
        await self._send({"type": "auth_required", "message": "send your API key"})
        try:
            with self._connections.unauthenticated():
                identity = await self._identity()
        except RealmError as error:
            await self._send({"type": "auth_failed", "error": call_error(error)["message"]})
            await self._close(_POLICY)
            return None
        assert identity.tenant is not None
        await self._send({"type": "auth_success", "tenant_id": identity.tenant.tenant_id})
        return identity

    async def _identity(self) -> Identity:
        """Of the first frame's key. Raises UnauthorizedError."""
        seconds = self._connections.limits.authentication_seconds
        try:
            async with asyncio.timeout(seconds):
                message = await self._websocket.receive()
        except TimeoutError:
            raise UnauthorizedError(f"no key came within {seconds:g} seconds") from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        key = read_key(message.get("text") or "")
        if key is None:
            raise UnauthorizedError('{"type": "auth", "api_key": ...} has to come first')
        identity: Identity = self._services.directory.authenticate_key(key)
        if identity.tenant is None:
            raise UnauthorizedError("an admin key administers; a tenant's key is wanted")
        self._key = key
        return identity

    async def _logged(self, tenant_id: str) -> None:
        named = {"request_id": self._request_id, "tenant": tenant_id}
        _LOGGER.info("connection opened", extra=named)
        try:
            await self._serve(tenant_id)
        finally:
            _LOGGER.info("connection closed", extra=named)

    async def _serve(self, tenant_id: str) -> None:
        """Takes frames until the client goes, or was silent for too long."""
        await self._send({"status": "connected", "version": version(), "tenant_id": tenant_id})
        try:
            while True:
                message = await self._next_message()
                if message is None:
                    await self._close(_GOING_AWAY)
                    return
                if message["type"] == "websocket.disconnect":
                    return
                await self._take(message)
        finally:
            tasks = [call.task for call in self._calls.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _next_message(self) -> Any:
        """None when nothing came for too long while nothing ran."""
        while True:
            try:
                async with asyncio.timeout(self._connections.limits.idle_seconds):
                    return await self._websocket.receive()
            except TimeoutError:
                if not self._calls:
                    return None

    async def _take(self, message: Any) -> None:
        text = message.get("text")
        if text is None:
            await self._fault("a frame must be text")
            return
        if len(text) > self._connections.limits.frame_characters:
            most = self._connections.limits.frame_characters
            await self._fault(f"a frame may have {most} characters")
            return
        call_id: str | None = None
        try:
            call = read_call(text)
            call_id = call.id
            self._begin(call)
        except FrameError as error:
            await self._send(failed(error.call_id, call_error(error)))
        except RealmError as error:
            await self._send(failed(call_id, call_error(error)))

    async def _fault(self, text: str) -> None:
        await self._send(failed(None, {"code": INVALID_PARAMS, "message": text}))

    def _begin(self, call: Call) -> None:
        """Raises what is wrong with the call before any of it was done."""
        if call.id in self._calls:
            raise FrameError("id: a call of this id is running", "id", call.id)
        most = self._connections.limits.calls
        if call.function == "cancel":
            most *= 2  # a connection that is full can still end its calls
        if len(self._calls) >= most:
            text = f"{len(self._calls)} calls are running on this connection"
            raise RateLimitError(text, 1.0)
        self._calls[call.id] = _Running(asyncio.create_task(self._answer(call)))

    async def _answer(self, call: Call) -> None:
        """Does the call and sends its last frame, whatever comes of it."""
        running = self._calls[call.id]
        try:
            answer = await self._outcome(call, running)
            running.is_ending = True
            await self._send(answer)
        except _GONE:
            pass  # the receiving side ends the connection
        finally:
            del self._calls[call.id]

    async def _outcome(self, call: Call, running: _Running) -> dict[str, Any]:
        """The last frame. Raises CancelledError of asyncio when the connection ends."""
        try:
            return complete(call.id, await self._do(call))
        except asyncio.CancelledError:
            if not running.was_cancelled or running.task.uncancel():
                raise
            return cancelled(call.id)
        except CancelledError:
            return cancelled(call.id)
        except _GONE:
            raise
        except Exception as error:
            return failed(call.id, call_error(error))

    async def _do(self, call: Call) -> dict[str, Any]:
        function = FUNCTIONS.get(call.function)
        if function is None:
            text = f"no function is called {call.function!r}; there are {', '.join(FUNCTIONS)}"
            raise UnknownFunctionError(text)
        stream = partial(self._stream, call.id)
        tenant = self._tenant_for(call)
        caller = Caller(self._services, tenant, stream, self._cancel, self._request_id)
        return await function.do(caller, function.read(call.params or {}))

    def _tenant_for(self, call: Call) -> Tenant:
        """As it is now: a key that was disabled since, or limits that changed, count from the next
        call on. Raises UnauthorizedError for another tenant's id."""
        directory = self._services.directory
        if self._key is None:
            tenant: Tenant | None = directory.authenticate(None).tenant
        else:
            tenant = directory.authenticate_key(self._key).tenant
        if tenant is None:
            raise UnauthorizedError("an admin key administers; a tenant's key is wanted")
        if call.tenant_id is None or call.tenant_id == tenant.tenant_id:
            return tenant
        if self._key is not None:
            raise UnauthorizedError("tenant_id is not the tenant of this connection's key")
        # Without keys older clients name a tenant as they like; those that there are count.
        with suppress(RequestError):
            named: Tenant = directory.tenant(call.tenant_id)
            return named if named.is_enabled else tenant
        return tenant

    def _cancel(self, call_id: str) -> bool:
        """Whether a call of this id ran, and ends now."""
        running = self._calls.get(call_id)
        if running is None or running.is_ending or running.task is asyncio.current_task():
            return False
        if not running.was_cancelled:
            running.was_cancelled = True
            running.task.cancel()
        return True

    async def _stream(self, call_id: str, data: dict[str, Any]) -> None:
        await self._send(streaming(call_id, data))

    async def _send(self, frame: dict[str, Any]) -> None:
        """Returns when the frame is on its way. Raises when the client has gone."""
        text = msgspec.json.encode(frame).decode()
        async with self._sending:
            await self._websocket.send_text(text)

    async def _close(self, code: int) -> None:
        async with self._sending:
            await self._websocket.close(code)


@dataclass(slots=True)
class _Running:
    """A call. is_ending: only its last frame is left to be sent."""

    task: asyncio.Task[None]
    is_ending: bool = False
    was_cancelled: bool = False
