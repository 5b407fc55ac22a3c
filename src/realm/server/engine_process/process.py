"""The life of an engine process: one socket, one front, and an end that never waits long.

It ends when its front has gone, within a second; on SIGTERM once what runs has ended, at once on a
second SIGTERM; and when the front says what cannot be understood.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
from pathlib import Path
from queue import SimpleQueue

from realm.config import EngineConfig
from realm.errors import RealmError, WireError
from realm.runtime import RuntimeManager
from realm.server.engine_process.front_connection import FrontConnection
from realm.server.wire.failures import failure_message
from realm.server.wire.frames import FrameEncoder, FrameSplitter, decode_question
from realm.server.wire.messages import Configure

_LOGGER = logging.getLogger(__name__)
_READ_BYTES = 256 << 10
_ACCEPT_SECONDS = 0.5
_LOST_SECONDS, _DRAINED_SECONDS = 0.9, 10.0
_FIRST_MESSAGE_SECONDS = 30.0

EXIT_DONE, EXIT_MISUNDERSTOOD, EXIT_NO_START = 0, 3, 4


class EngineProcess:
    """For the main thread of a process of its own. state_path: as of RuntimeManager."""

    def __init__(self, socket_path: Path, config: EngineConfig, state_path: Path | None) -> None:
        self._socket_path = socket_path
        self._config = config
        self._state_path = state_path
        self._events: SimpleQueue[str] = SimpleQueue()

    def run(self) -> int:
        """The exit status, once all has ended; what still holds on to the process is cut off."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._events.put("terminate"))
        listener = _listen(self._socket_path)
        refusal: RealmError | None = None
        manager: RuntimeManager | None = None
        try:
            manager = RuntimeManager(self._config, state_path=self._state_path)
        except RealmError as error:
            _LOGGER.exception("the engine cannot start: %s", error)
            refusal = error
        connection = self._accept(listener)
        if connection is None:
            return EXIT_DONE
        if manager is None:
            assert refusal is not None
            _refuse(connection, refusal)
            return EXIT_NO_START
        return self._serve(connection, manager)

    def _accept(self, listener: socket.socket) -> socket.socket | None:
        """The front's connection; None when the front has gone before it came, or on SIGTERM."""
        parent = os.getppid()
        listener.settimeout(_ACCEPT_SECONDS)
        try:
            while os.getppid() == parent and self._events.empty():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                connection.setblocking(True)
                return connection
            return None
        finally:
            listener.close()
            self._socket_path.unlink(missing_ok=True)

    def _serve(self, connection: socket.socket, manager: RuntimeManager) -> int:
        own_paths = [] if self._state_path is None else [self._state_path]
        front = FrontConnection(connection, manager, own_paths, self._events.put)
        is_draining = False
        while True:
            event = self._events.get()
            if event == "terminate" and not is_draining:
                is_draining = True
                _LOGGER.info("the engine drains")
                front.service.drain()
            elif event == "configured":
                gc.freeze()  # models stay: looking through them takes tens of milliseconds
            else:
                break
        if event == "idle":
            front.service.finish()
            signal.setitimer(signal.ITIMER_REAL, _DRAINED_SECONDS)
        else:
            # Nobody waits for anything now; the kernel sees to it that no lock can keep us.
            signal.setitimer(signal.ITIMER_REAL, _LOST_SECONDS)
            front.service.cancel_all()
        front.service.close()
        manager.close()
        _LOGGER.info("the engine has ended", extra={"reason": event})
        return EXIT_MISUNDERSTOOD if front.is_misunderstood else EXIT_DONE


def _listen(path: Path) -> socket.socket:
    """A socket that this user alone may connect to."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(1)
    _LOGGER.info("the engine listens")
    return listener


def _refuse(connection: socket.socket, error: RealmError) -> None:
    """Tells the first message why there is no engine."""
    connection.settimeout(_FIRST_MESSAGE_SECONDS)
    splitter = FrameSplitter()
    try:
        while data := connection.recv(_READ_BYTES):
            for frame in splitter.feed(data):
                question = decode_question(frame)
                if isinstance(question, Configure):
                    connection.sendall(
                        FrameEncoder().encode(failure_message(question.number, error))
                    )
                    return
    except (OSError, WireError) as reason:
        _LOGGER.warning("the front could not be told: %s", reason)
    finally:
        connection.close()
