"""The connection to the one front: a thread that reads, a thread that writes, a service between."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from realm.errors import WireError
from realm.runtime import RuntimeManager
from realm.server.engine_process.answer_writer import AnswerWriter
from realm.server.engine_process.public_words import PublicWords
from realm.server.engine_process.running_request import RunningRequest
from realm.server.engine_process.service import Service
from realm.server.wire.frames import FrameSplitter, decode_question

_LOGGER = logging.getLogger(__name__)
_READ_BYTES = 256 << 10


class FrontConnection:
    """Serves from when it is made. tell: called with "lost" once the front has gone or is not
    understood, and with what the service tells; on any thread.
    """

    def __init__(
        self,
        connection: socket.socket,
        manager: RuntimeManager,
        own_paths: Sequence[Path],
        tell: Callable[[str], None],
    ) -> None:
        self.is_misunderstood = False
        self._connection = connection
        self._tell = tell
        words = PublicWords(own_paths)

        def make_writer(on_end: Callable[[RunningRequest], None]) -> AnswerWriter:
            return AnswerWriter(
                connection, describe=words.describe, on_end=on_end, on_lost=lambda: tell("lost")
            )

        self.service = Service(manager, words, make_writer, tell)
        threading.Thread(target=self._read, name="realm-reader", daemon=True).start()

    def _read(self) -> None:
        splitter = FrameSplitter()
        buffer = bytearray(_READ_BYTES)
        view = memoryview(buffer)
        try:
            while count := self._connection.recv_into(buffer):
                for frame in splitter.feed(view[:count]):
                    self.service.handle(decode_question(frame))
        except WireError as error:
            _LOGGER.error("the front is not understood: %s", error)
            self.is_misunderstood = True
        except OSError as error:
            _LOGGER.warning("the connection to the front broke: %s", error)
        except Exception:
            _LOGGER.exception("the reader failed")
            self.is_misunderstood = True
        self._tell("lost")
