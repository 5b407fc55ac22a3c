"""What the engine loop needs of a request that runs, whether through a guest or directly.

Every method is called on the engine thread only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from realm.engine import LayerRows, StepOutput
    from realm.errors import RealmError
    from realm.runtime.result import GenerationResult
    from realm.runtime.timings import Stopwatch
    from realm.session import Piece


class Run(Protocol):
    """A running request.

    stopwatch: where the loop writes the time of steps and turns.
    sequence: the sequence whose next output it waits for, if any.
    needs_signal: it waits for its client to take output, or for a worker; `advance` looks again.
    signal_deadline: seconds of the loop's clock at which it wants to look again anyhow, or None.
    is_busy: it used up a slice of computing and only wants to go on.
    result, error: set once it has ended.
    layer_rows: the rows that it waits for to be taken through one layer, if any.
    deadline: seconds of the loop's clock after which it is over, or None.
    memory_bytes: of its program's linear memory.
    """

    stopwatch: Stopwatch
    sequence: int | None
    needs_signal: bool
    signal_deadline: float | None
    is_busy: bool
    layer_rows: LayerRows | None
    result: GenerationResult | None
    error: RealmError | None
    deadline: float | None
    memory_bytes: int

    def note_piece(self, piece: Piece) -> None:
        """A piece has gone out to the client."""

    def advance(self) -> None:
        """Goes on until it waits, ends, or has had its turn."""

    def deliver(self, output: StepOutput) -> None:
        """Takes the output of the sequence it waits for; `advance` follows."""

    def deliver_rows(self, rows: NDArray[np.float32] | RealmError) -> None:
        """Takes its rows after the layer, or why there are none; `advance` follows."""

    def cancel(self) -> None:
        """Ends it with what it has; the finish reason is 'cancelled'."""

    def fail(self, error: RealmError) -> None:
        """Ends it with an error."""
