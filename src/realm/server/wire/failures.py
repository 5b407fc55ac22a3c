"""Errors on their way between the processes: the name of a class, and a message."""

from __future__ import annotations

from realm import errors
from realm.errors import EngineUnavailableError, RateLimitError, RealmError, ServerError
from realm.server.wire.messages import Failed

_CLASSES: dict[str, type[RealmError]] = {
    name: each
    for name, each in vars(errors).items()
    if isinstance(each, type) and issubclass(each, RealmError)
}


def failure_message(number: int, error: RealmError, text: str | None = None) -> Failed:
    """What tells of the error. text: in place of its own words."""
    kind = next(each.__name__ for each in type(error).__mro__ if each.__name__ in _CLASSES)
    message = str(error) if text is None else text
    seconds = error.retry_after_seconds if isinstance(error, _WITH_SECONDS) else None
    return Failed(number, kind, message.encode(errors="replace").decode(), seconds)


def error_of(failed: Failed) -> RealmError:
    """A new error, as it was raised on the other side; a ServerError of a class that is unknown."""
    kind = _CLASSES.get(failed.kind, ServerError)
    if issubclass(kind, _WITH_SECONDS) and failed.retry_after_seconds is not None:
        return kind(failed.message, failed.retry_after_seconds)
    try:
        return kind(failed.message)
    except TypeError:  # a class of the front's own, which says more than a message
        return ServerError(failed.message)


_WITH_SECONDS = (RateLimitError, EngineUnavailableError)
