"""Log lines of JSON on the standard error, one object a line, without keys and prompts.

What a client wrote is left out at three places: records carry no such fields; fields and errors'
messages that may hold some are dropped here; and whatever still looks like a key is struck out of
the finished line. Lines of other libraries pass through here too, and those that tell what went
over the wire are not asked for at any level.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Any, Literal

from realm.errors import ConfigError

STRUCK_OUT = "[struck out]"

_KEY = re.compile(r"realm_[A-Za-z0-9-]{2,64}_[A-Za-z0-9_-]{12,}")
_AUTHORIZATION = re.compile(
    r"(?i)(authorization|api[_-]?key|cookie)\s*[\"'\\:=,](?:[\s\"'\\:=,(\[]|b')*"
    r"(?:(?:bearer|basic|digest|token)\s+)?[^\s\"'\\,;)\]}]+"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}")
_SUSPICIOUS = re.compile(r"(?i)realm_|auth|api|cookie|bearer|basic")  # found by all of these
# fmt: off
_CONTENT_FIELDS = frozenset({
    "answer", "body", "completion", "content", "data", "frame", "input", "inputs", "messages",
    "params", "piece", "pieces", "prompt", "prompts", "response_format", "schema", "stop", "text",
    "texts", "token_ids",
})
_SECRET_FIELDS = frozenset({
    "api_key", "apikey", "authorization", "cookie", "database_url", "headers", "key", "password",
    "secret", "token",
})
# fmt: on
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_QUIET = ("uvicorn.access", "websockets", "httpcore", "httpx", "sqlalchemy", "asyncio", "wasmtime")
_DEEPEST, _LONGEST, _MOST = 4, 2000, 50


class RealmFormatter(logging.Formatter):
    """A record as one line of JSON, or of text for a terminal."""

    def __init__(self, *, as_json: bool = True, with_content: bool = False) -> None:
        """with_content: errors' messages and fields with clients' texts are logged as well; keys
        never are."""
        super().__init__()
        self._as_json = as_json
        self._with_content = with_content

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the record holds; never raises for what it holds."""
        fields: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(
                timespec="milliseconds"
            ),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._message(record),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD and name not in fields:
                fields[name] = self._field(name, value)
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = self._error(record.exc_info[1])
        fields = {_text(name): _plain(value) for name, value in fields.items()}
        return json.dumps(fields) if self._as_json else _as_text(fields)

    def _message(self, record: logging.LogRecord) -> str:
        try:
            return record.getMessage()
        except Exception as error:
            return f"{record.msg!r} ({type(error).__name__} in its arguments)"

    def _field(self, name: str, value: object) -> object:
        lowered = name.lower()
        if lowered in _SECRET_FIELDS:
            return STRUCK_OUT
        if lowered in _CONTENT_FIELDS and not self._with_content:
            return "[left out]"
        if isinstance(value, BaseException):
            return self._error(value)
        if isinstance(value, Mapping):
            return {str(key): self._field(str(key), each) for key, each in value.items()}
        return value

    def _error(self, error: BaseException) -> dict[str, object]:
        """Its class and where it came from. Its message may quote what a client sent."""
        frames = traceback.extract_tb(error.__traceback__)[-20:]
        told: dict[str, object] = {
            "type": type(error).__name__,
            "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
        }
        if self._with_content:
            told["message"] = str(error)
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is not None:
            told["cause"] = type(cause).__name__
        return told


def configure_logging(
    level: str = "info",
    form: Literal["json", "text"] = "json",
    *,
    with_content: bool = False,
    stream: IO[str] | None = None,
) -> None:
    """Sends all records to `stream`, the standard error if None, instead of where they went before.

    level: of Realm's and uvicorn's own records; other libraries tell warnings. uvicorn's access log
    is off: the front writes its own line for each request. Raises ConfigError for a level that
    there is not.
    """
    levels = logging.getLevelNamesMapping()
    if level.upper() not in levels:
        raise ConfigError(f"no level of logging is called {level!r}")
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(RealmFormatter(as_json=form == "json", with_content=with_content))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("realm").setLevel(levels[level.upper()])
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(max(logging.INFO, levels[level.upper()]))
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False


def strike_out(text: str) -> str:
    """The text without whatever looks like a key or a header that holds one."""
    if _SUSPICIOUS.search(text) is None:
        return text
    text = _AUTHORIZATION.sub(lambda found: f"{found[1]}: {STRUCK_OUT}", text)
    text = _BEARER.sub(lambda found: f"{found[1]} {STRUCK_OUT}", text)
    return _KEY.sub(STRUCK_OUT, text)


def _plain(value: object, depth: int = 0) -> Any:
    """What JSON has a form for, of bounded size, without keys."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else "[large]"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth < _DEEPEST and isinstance(value, Mapping):
        items = list(value.items())[:_MOST]
        return {_text(key): _plain(each, depth + 1) for key, each in items}
    if depth < _DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [_plain(each, depth + 1) for each in list(value)[:_MOST]]
    return _text(value)


def _text(value: object) -> str:
    try:
        text = value if isinstance(value, str) else str(value)
    except Exception as error:
        text = f"[{type(value).__name__}: {type(error).__name__}]"
    struck = strike_out(text[: 4 * _LONGEST])
    return struck if len(struck) <= _LONGEST else struck[:_LONGEST] + "..."


def _as_text(fields: dict[str, Any]) -> str:
    message = json.dumps(fields.pop("message"))[1:-1].replace('\\"', '"')
    head = f"{fields.pop('timestamp')} {fields.pop('level'):7} {fields.pop('logger')}: {message}"
    rest = [f"{name}={json.dumps(value)}" for name, value in fields.items() if value is not None]
    return " ".join((head, *rest))
