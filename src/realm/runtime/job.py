"""A request between its submission and its end, as the engine loop keeps it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realm.runtime.account import TenantAccount
    from realm.runtime.delivery import Delivery
    from realm.runtime.run import Run
    from realm.runtime.timings import Stopwatch
    from realm.session import Piece


def _nothing() -> None:
    pass


@dataclass(slots=True, eq=False)
class Job:
    """`begin` makes the run, on the engine thread; `run` is None until then and after the end.

    account: the tenant's. priority: higher ones begin first. let_go: called when it has ended.
    is_runnable: whether it is in line for its turn. is_cancelled: before it came to the loop.
    """

    stopwatch: Stopwatch
    delivery: Delivery
    begin: Callable[[Job], Run]
    account: TenantAccount
    priority: int = 0
    let_go: Callable[[], None] = _nothing
    run: Run | None = None
    is_runnable: bool = False
    has_ended: bool = False
    is_cancelled: bool = False

    def put_piece(self, piece: Piece) -> bool:
        """Whether the client had room; a piece that went out is the run's to remember."""
        assert self.run is not None
        if not self.delivery.offer(piece):
            return False
        self.run.note_piece(piece)
        return True
