"""What a host function may answer: a number, a failure, or that the guest must wait.

A failure is an exception only among the host's own functions; the guest sees a negative number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from realm.errors import (
    AdapterError,
    AdapterNotFoundError,
    CancelledError,
    CapacityError,
    ChatTemplateError,
    ConfigError,
    ConstraintError,
    ContextLengthError,
    GGUFError,
    ModelError,
    ModelNotFoundError,
    NativeError,
    NotSupportedError,
    RealmError,
    RequestError,
    TokenizerError,
    ToolError,
)
from realm.runtime.contract import ErrorCode

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from realm.engine import LayerRows, StepOutput


class HostCallError(Exception):
    """A host function refuses; `code` goes to the guest, the message to realm_last_error."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class WaitForStep(NamedTuple):
    """The guest stays parked until the engine answers for `sequence`."""

    sequence: int
    complete: Callable[[StepOutput], Answer]


class WaitForRoom(NamedTuple):
    """The guest stays parked until its client has taken some of the output."""

    retry: Callable[[], Answer]


class WaitForWork(NamedTuple):
    """The guest stays parked until a worker is done, or until `deadline` (the loop's clock)."""

    retry: Callable[[], Answer]
    deadline: float | None = None


class WaitForTurn(NamedTuple):
    """The guest stays parked until its next turn, because the call has more to do than fits one."""

    retry: Callable[[], Answer]


@dataclass(frozen=True, slots=True)
class WaitForLayer:
    """The guest stays parked until the engine has run one layer on `rows`, beside other guests'."""

    rows: LayerRows
    complete: Callable[[npt.NDArray[np.float32]], Answer]


Answer: TypeAlias = int | WaitForStep | WaitForRoom | WaitForWork | WaitForTurn | WaitForLayer

# The first row whose class an error is an instance of.
_CODES: tuple[tuple[type[RealmError], ErrorCode], ...] = (
    (ContextLengthError, ErrorCode.CONTEXT),
    (CapacityError, ErrorCode.CAPACITY),
    (ConstraintError, ErrorCode.CONSTRAINT),
    (ToolError, ErrorCode.TOOL),
    (TokenizerError, ErrorCode.TOKENIZER),
    (ChatTemplateError, ErrorCode.TEMPLATE),
    (ModelNotFoundError, ErrorCode.NOT_FOUND),
    (AdapterNotFoundError, ErrorCode.NOT_FOUND),
    (AdapterError, ErrorCode.ADAPTER),
    (ModelError, ErrorCode.MODEL),
    (GGUFError, ErrorCode.MODEL),
    (NotSupportedError, ErrorCode.MODEL),
    (ConfigError, ErrorCode.INVALID),
    (CancelledError, ErrorCode.STATE),
    (RequestError, ErrorCode.INVALID),
    (NativeError, ErrorCode.INTERNAL),
    (RealmError, ErrorCode.STATE),
)


def code_of(error: RealmError) -> ErrorCode:
    """The code under which a guest learns of an error of the layers below."""
    return next(code for kind, code in _CODES if isinstance(error, kind))
