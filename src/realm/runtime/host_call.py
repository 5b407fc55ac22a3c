"""What a host function may answer: a number, a failure, or that the guest must wait.

A failure is an exception only among the host's own functions; the guest sees a negative number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from realm.errors import (
    CancelledError,
    CapacityError,
    ChatTemplateError,
    ConfigError,
    ContextLengthError,
    ModelError,
    ModelNotFoundError,
    NativeError,
    RealmError,
    RequestError,
    TokenizerError,
)
from realm.runtime.contract import ErrorCode

if TYPE_CHECKING:
    from realm.engine import StepOutput


class HostCallError(Exception):
    """A host function refuses; `code` goes to the guest, the message to realm_last_error."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class WaitForStep:
    """The guest stays parked until the engine answers for `sequence`."""

    sequence: int
    complete: Callable[[StepOutput], Answer]


@dataclass(frozen=True, slots=True)
class WaitForRoom:
    """The guest stays parked until its client has taken some of the output."""

    retry: Callable[[], Answer]


Answer: TypeAlias = int | WaitForStep | WaitForRoom

# The first row whose class an error is an instance of.
_CODES: tuple[tuple[type[RealmError], ErrorCode], ...] = (
    (ContextLengthError, ErrorCode.CONTEXT),
    (CapacityError, ErrorCode.CAPACITY),
    (TokenizerError, ErrorCode.TOKENIZER),
    (ChatTemplateError, ErrorCode.TEMPLATE),
    (ModelNotFoundError, ErrorCode.NOT_FOUND),
    (ModelError, ErrorCode.MODEL),
    (ConfigError, ErrorCode.INVALID),
    (CancelledError, ErrorCode.STATE),
    (RequestError, ErrorCode.INVALID),
    (NativeError, ErrorCode.INTERNAL),
    (RealmError, ErrorCode.STATE),
)


def code_of(error: RealmError) -> ErrorCode:
    """The code under which a guest learns of an error of the layers below."""
    return next(code for kind, code in _CODES if isinstance(error, kind))
