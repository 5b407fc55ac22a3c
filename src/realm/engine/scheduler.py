"""Which rows the next step computes: pure functions on plain data.

Sequences that wait for one token go first, so that no prompt delays them. Prompts share what the
latency budget leaves, the higher priority first, then the owner that has had the least.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Candidate(NamedTuple):
    """A sequence that has its pages, waits for an answer and has `pending` tokens to compute.

    arrival: smaller came earlier.
    """

    sequence: int
    owner: str
    pending: int
    priority: int = 0
    arrival: int = 0


@dataclass(frozen=True, slots=True)
class PlannedRows:
    """The next `count` pending tokens of one sequence; `completes` when none remains after them."""

    sequence: int
    count: int
    completes: bool


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What one step computes, decode rows before prompts."""

    rows: tuple[PlannedRows, ...]

    @property
    def token_count(self) -> int:
        """Rows of the step."""
        return sum(row.count for row in self.rows)


@dataclass(frozen=True, slots=True)
class StepLimits:
    """How large a step may become.

    rows: most rows of a step. chunk_rows: most rows of one prompt while others decode.
    step_seconds: how long a step may take while somebody decodes.
    least_chunk_rows, least_share: what prompts get in any case, so that they come to an end: so
        many rows, and this part of the time that the decode rows take.
    """

    rows: int = 512
    chunk_rows: int = 256
    step_seconds: float = 0.05
    least_chunk_rows: int = 16
    least_share: float = 0.5


@dataclass(frozen=True, slots=True)
class StepCost:
    """A step's measured time: `fixed_seconds` + rows * `row_seconds`; both 0 while unknown."""

    fixed_seconds: float = 0.0
    row_seconds: float = 0.0


def prompt_budget(decoding: int, limits: StepLimits, cost: StepCost) -> int:
    """How many prompt rows a step with `decoding` decode rows takes."""
    room = limits.rows - decoding
    if not decoding or cost.row_seconds <= 0.0:
        return room
    decode_seconds = cost.fixed_seconds + cost.row_seconds * decoding
    seconds = max(limits.step_seconds - decode_seconds, limits.least_share * decode_seconds)
    return max(0, min(room, max(int(seconds / cost.row_seconds), limits.least_chunk_rows)))


def plan_step(
    candidates: Sequence[Candidate],
    virtual: Mapping[str, float],
    limits: StepLimits,
    cost: StepCost,
    weights: Mapping[str, float] | None = None,
) -> StepPlan:
    """The rows of the next step.

    virtual: what every owner of a candidate has had. weights: of owners; 1 for those left out.
    """
    decoding = [each for each in candidates if each.pending == 1]
    if len(decoding) > limits.rows:
        decoding.sort(key=lambda each: _turn(each, virtual))
        del decoding[limits.rows :]
    rows = [PlannedRows(each.sequence, 1, True) for each in decoding]
    if len(decoding) == len(candidates):
        return StepPlan(tuple(rows))
    room = prompt_budget(len(decoding), limits, cost)
    largest = limits.chunk_rows if decoding else limits.rows
    shares = weights or {}
    waiting = [
        (*_turn(each, virtual), index)
        for index, each in enumerate(candidates)
        if each.pending > 1
    ]  # fmt: skip
    heapq.heapify(waiting)
    taken: dict[str, float] = {}
    while waiting and room > 0:
        priority, had, arrival, index = heapq.heappop(waiting)
        prompt = candidates[index]
        now_had = virtual[prompt.owner] + taken.get(prompt.owner, 0.0)
        if now_had > had:
            # Its owner got rows of this step already: in line again, behind those that had less.
            heapq.heappush(waiting, (priority, now_had, arrival, index))
            continue
        count = min(prompt.pending, room, largest)
        rows.append(PlannedRows(prompt.sequence, count, count == prompt.pending))
        room -= count
        share = count / shares.get(prompt.owner, 1.0)
        taken[prompt.owner] = taken.get(prompt.owner, 0.0) + share
    return StepPlan(tuple(rows))


def _turn(each: Candidate, virtual: Mapping[str, float]) -> tuple[int, float, int]:
    return (-each.priority, virtual[each.owner], each.arrival)
