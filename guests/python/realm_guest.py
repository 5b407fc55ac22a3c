"""The guest contract for programs in Python: models, sessions, output; errors as exceptions.

A program is a module with a class `WitWorld`, made by `program`:

    from realm_guest import Request, program

    def answer(request: Request) -> None:
        ...

    WitWorld = program(answer)
"""

from __future__ import annotations

import codecs
import json
import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, TypeVar

import wit_world
from wit_world.imports import host

T = TypeVar("T")
_INTERNAL = 15
_ADD_SPECIAL, _PARSE_SPECIAL = 1, 2
_ERROR_LEVEL = 3
_TRACE_FRAMES = 8
_POLICY = struct.Struct("<ffIffff4xQ")
_CONSTRAINTS = ("json_schema", "regex", "grammar")


class RealmError(Exception):
    """The host refused; `code` is one of the table in docs/guests.md."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def _fail() -> NoReturn:
    code = host.last_code()
    raise RealmError(code or _INTERNAL, host.last_error() or "")


def _number(answer: int) -> int:
    if answer < 0:
        _fail()
    return answer


def _value(answer: T | None) -> T:
    if answer is None:
        _fail()
    return answer


def _pack(ids: Sequence[int]) -> bytes:
    return array("I", ids).tobytes()


def _unpack(data: bytes) -> list[int]:
    return array("I", data).tolist()


def _describe(error: Exception) -> str:
    """What happened, and where; `traceback` would look for source files, which are not there."""
    frames, place = [], error.__traceback__
    while place is not None:
        frames.append(f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}")
        place = place.tb_next
    return f"{type(error).__name__}: {error} at {' '.join(frames[-_TRACE_FRAMES:])}"


class Model:
    """A model that the tenant may use, by its name."""

    def __init__(self, name: str) -> None:
        self.handle = _number(host.load_model(name))
        self.metadata: dict[str, Any] = json.loads(_value(host.metadata(self.handle)))
        self.ends = frozenset(self.metadata["end_of_generation_ids"])

    def set_adapter(self, name: str | None) -> None:
        """For sessions opened from now on."""
        _number(host.set_adapter(self.handle, name or ""))

    def encode(
        self, text: str, *, add_special: bool = True, parse_special: bool = False
    ) -> list[int]:
        """Token ids."""
        marks = _ADD_SPECIAL * add_special + _PARSE_SPECIAL * parse_special
        return _unpack(_value(host.encode(self.handle, text, marks)))

    def decode(self, ids: Sequence[int]) -> bytes:
        """Bytes; the last character may be unfinished."""
        return _value(host.decode(self.handle, _pack(ids)))

    def chat(self, messages: list[dict[str, Any]]) -> list[int]:
        """The token ids of a conversation in the model's own template."""
        text = _value(host.render_chat(self.handle, json.dumps(messages)))
        return self.encode(text, add_special=False, parse_special=True)

    def generate(self, prompt: str) -> str:
        """A whole answer by the request's own options, made by the host."""
        return _value(host.generate(self.handle, prompt, b""))

    def open(self) -> Session:
        """A new session without tokens."""
        return Session(self, _number(host.open_session(self.handle)))


class Session:
    """A sequence of tokens that the host keeps; it ends with the request."""

    def __init__(self, model: Model, handle: int) -> None:
        self.model = model
        self.handle = handle

    def prefill(self, ids: Sequence[int]) -> None:
        """Adds tokens of the prompt."""
        _number(host.prefill(self.handle, _pack(ids)))

    def sample(
        self,
        *,
        temperature: float | None = None,
        top_p: float = 1.0,
        top_k: int = 0,
        seed: int = 0,
    ) -> list[int]:
        """The next ids, drawn by the request's own policy, or by this one when it has one."""
        policy = b""
        if temperature is not None:
            policy = _POLICY.pack(temperature, top_p, top_k, 0.0, 1.0, 0.0, 0.0, seed)
        return _unpack(_value(host.sample(self.handle, policy)))

    def tokens(self, count: int) -> Iterator[int]:
        """At most so many tokens, by the request's own policy, until the model ends."""
        while count > 0:
            for token in self.sample():
                if token in self.model.ends:
                    return
                count -= 1
                yield token

    def accept(self, ids: Sequence[int]) -> None:
        """Adds tokens of the program's own choice."""
        _number(host.accept(self.handle, _pack(ids)))

    def mask(self, ids: Sequence[int]) -> None:
        """Only these may be drawn next."""
        bits = bytearray(-(-self.model.metadata["vocabulary_size"] // 32) * 4)
        for token in ids:
            bits[token >> 3] |= 1 << (token & 7)
        _number(host.mask(self.handle, bytes(bits)))

    def constrain(self, kind: str, source: str) -> None:
        """From here on; kind: 'json_schema', 'regex' or 'grammar'."""
        _number(host.constrain(self.handle, 1 + _CONSTRAINTS.index(kind), source))

    def fork(self) -> Session:
        """Another with the same tokens."""
        return Session(self.model, _number(host.fork(self.handle)))

    def rewind(self, position: int) -> None:
        """Forgets the tokens from `position` on."""
        _number(host.rewind(self.handle, position))

    @property
    def position(self) -> int:
        """How many tokens it has."""
        return _number(host.position(self.handle))

    def close(self) -> None:
        _number(host.close_session(self.handle))


class Request:
    """What is asked. options: of the request, as the host gives them."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.model = Model(document["model"])
        self.options: dict[str, Any] = document["options"]
        self._document = document

    @property
    def max_tokens(self) -> int:
        return int(self.options["max_tokens"])

    def prompt_ids(self) -> list[int]:
        """The prompt's tokens, in whatever form it came."""
        document = self._document
        if "messages" in document:
            return self.model.chat(document["messages"])
        if "prompt" in document:
            return self.model.encode(document["prompt"])
        return list(document["token_ids"])


class Outlet:
    """Streams whole characters of what comes in pieces of bytes."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.text = ""

    def send(self, data: bytes) -> None:
        piece = self._decoder.decode(data)
        if piece:
            self.text += piece
            send(piece)


def send(text: str) -> None:
    """To the client, now."""
    _number(host.send(text))


def respond(document: Any) -> None:
    """Once: a document that the caller gets at the end."""
    _number(host.respond(json.dumps(document).encode()))


def state_get(key: str) -> bytes | None:
    """What the tenant keeps under this key."""
    return host.state_get(key.encode())


def state_put(key: str, value: bytes) -> None:
    """No bytes remove the key."""
    _number(host.state_put(key.encode(), value))


def tool_call(name: str, arguments: bytes) -> bytes:
    """The result of a tool on the tenant's list."""
    return _value(host.tool_call(name, arguments))


def log(text: str, level: int = 1) -> None:
    """Levels 0 debug, 1 info, 2 warning, 3 error."""
    _number(host.log(level, text))


def now_ms() -> int:
    """Milliseconds since the request began."""
    return host.now_ms()


def random(count: int) -> bytes:
    """Bytes that depend on the request's seed alone."""
    return _value(host.random(count))


def program(answer: Callable[[Request], None]) -> type[wit_world.WitWorld]:
    """The class that a component exports; a RealmError becomes the request's error, and any other
    exception is logged."""

    class WitWorld(wit_world.WitWorld):
        def handle(self, request: str) -> int:
            try:
                answer(Request(json.loads(request)))
            except RealmError as error:
                return -error.code
            except Exception as error:
                host.log(_ERROR_LEVEL, _describe(error))
                raise  # ends the program as a trap
            return 0

    return WitWorld
