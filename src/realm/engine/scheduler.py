"""Which rows the next step computes: pure functions on plain data.

Sequences that wait for one token go first, so that no prompt delays them. Prompts share what the
latency budget leaves, the higher priority first, then the owner that has had the least. An owner
that has had far more than the others beside it gets no more than a part of an equal share. One that
decodes far more at once than the others is cut (`crowding`), and its prompts are held back as well.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from realm.engine.crowding import Crowding, decode_rows

MANY_STEPS = 1 << 30


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

    @property
    def decodes(self) -> bool:
        """Whether its answer takes one row."""
        return self.completes and self.count == 1


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What one step computes, decode rows before prompts. cut: owners of which decode rows are left
    out; nothing is drafted for them. steps: for how many nobody else would get rows, as things
    stand."""

    rows: tuple[PlannedRows, ...]
    cut: frozenset[str] = frozenset()
    steps: int = 1

    @property
    def decodes(self) -> bool:
        """Whether every row gives an answer."""
        return all(row.decodes for row in self.rows)

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
    lead_tokens: an owner that has had so many virtual tokens more than the others, on average, is
        held back: a long prompt's worth, which everyone may have at once.
    held_share: what those held back get, as a part of the time that an equal share would be.
    """

    rows: int = 512
    chunk_rows: int = 256
    step_seconds: float = 0.05
    least_chunk_rows: int = 16
    least_share: float = 0.25
    lead_tokens: float = 3200.0
    held_share: float = 0.5


@dataclass(frozen=True, slots=True)
class StepCost:
    """A step's measured time, all 0 while unknown: a sum of what it computes.

    fixed_seconds: of any step. row_seconds: of each row through the layers. answer_seconds: of each
    row whose logits are computed, besides.
    """

    fixed_seconds: float = 0.0
    row_seconds: float = 0.0
    answer_seconds: float = 0.0

    def seconds(self, rows: int, answers: int) -> float:
        """Of a step with so many rows, of which so many give logits."""
        return self.fixed_seconds + self.row_seconds * rows + self.answer_seconds * answers


def prompt_budget(decoding: int, limits: StepLimits, cost: StepCost) -> int:
    """How many prompt rows a step with `decoding` decode rows takes."""
    room = limits.rows - decoding
    if not decoding or cost.row_seconds <= 0.0:
        return room
    decode_seconds = cost.seconds(decoding, decoding)
    seconds = max(limits.step_seconds - decode_seconds, limits.least_share * decode_seconds)
    fitting = min(seconds / cost.row_seconds, room)
    return max(0, min(room, max(int(fitting), limits.least_chunk_rows)))


def held_pause(  # noqa: PLR0917
    room: int, equal_share: float, seconds: float, limits: StepLimits, cost: StepCost, turn: int
) -> int:
    """In how many steps the owners that are held back get prompt rows; 0 is now.

    A step in so many gives them all the room, for one large piece of a prompt delays others less
    than many small ones. room: what is left for them. equal_share: theirs, over that of the others.
    seconds: that the others' rows take. turn: counts the steps.
    """
    rows = limits.held_share * equal_share * seconds / cost.row_seconds
    return -turn % max(1, math.ceil(room / rows))


def held_back(
    candidates: Sequence[Candidate], virtual: Mapping[str, float], lead_tokens: float
) -> set[tuple[str, int]]:
    """The (owner, priority) of prompts that are to wait for others, of the same priority or more.

    Never all: who has had the least among those of the highest priority is not.
    """
    held = set()
    for priority in {each.priority for each in candidates if each.pending > 1}:
        owners = {each.owner for each in candidates if each.priority >= priority}
        total = sum(virtual[owner] for owner in owners)
        if len(owners) < 2:
            continue
        for owner in {each.owner for each in candidates if each.priority == priority}:
            others = (total - virtual[owner]) / (len(owners) - 1)
            if virtual[owner] - others > lead_tokens:
                held.add((owner, priority))
    return held


def plan_step(  # noqa: PLR0917
    candidates: Sequence[Candidate],
    virtual: Mapping[str, float],
    limits: StepLimits,
    cost: StepCost,
    weights: Mapping[str, float] | None = None,
    turn: int = 0,
    crowding: Crowding | None = None,
) -> StepPlan:
    """The rows of the next step.

    virtual: what every owner of a candidate has had. weights: of owners; 1 for those left out.
    turn: counts the steps. crowding: who must not take too much; None lets everyone decode.
    """
    shares = weights or {}
    if crowding is None:
        decoding, cut = [each for each in candidates if each.pending == 1], frozenset[str]()
    else:
        decoding, cut = decode_rows(candidates, shares, crowding, turn)
    if len(decoding) > limits.rows:
        decoding.sort(key=lambda each: _turn(each, virtual))
        del decoding[limits.rows :]
    rows = [PlannedRows(each.sequence, 1, True) for each in decoding]
    prompts = [each for each in candidates if each.pending > 1]
    if not prompts:
        return StepPlan(tuple(rows), cut, MANY_STEPS if len(rows) == len(candidates) else 1)
    room = prompt_budget(len(decoding), limits, cost)
    largest = limits.chunk_rows if decoding else limits.rows
    held = set[tuple[str, int]]()
    if cost.row_seconds > 0.0:
        held = held_back(candidates, virtual, limits.lead_tokens)
        held |= {(each.owner, each.priority) for each in prompts if each.owner in cut}
    first = [each for each in prompts if (each.owner, each.priority) not in held]
    rows += _prompt_rows(first, virtual, shares, room, largest)
    steps = 1
    if held:
        row_count = sum(row.count for row in rows)
        seconds = cost.seconds(row_count, sum(row.completes for row in rows))
        held_owners = {owner for owner, _ in held}
        others = {each.owner for each in candidates} - held_owners
        equal = _weight(held_owners, shares) / _weight(others, shares)
        room -= row_count - len(decoding)
        last = [each for each in prompts if (each.owner, each.priority) in held]
        pause = held_pause(room, equal, seconds, limits, cost, turn)
        if not pause:
            rows += _prompt_rows(last, virtual, shares, room, largest)
        elif len(rows) + len(last) == len(candidates):
            steps = pause
    return StepPlan(tuple(rows), cut, steps)


def _prompt_rows(
    prompts: Sequence[Candidate],
    virtual: Mapping[str, float],
    shares: Mapping[str, float],
    room: int,
    largest: int,
) -> list[PlannedRows]:
    """At most `room` rows of prompts, by priority, then to whoever had least; `largest` of each."""
    rows: list[PlannedRows] = []
    waiting = [(*_turn(each, virtual), index) for index, each in enumerate(prompts)]
    heapq.heapify(waiting)
    taken: dict[str, float] = {}
    while waiting and room > 0:
        priority, had, arrival, index = heapq.heappop(waiting)
        prompt = prompts[index]
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
    return rows


def _weight(owners: Collection[str], shares: Mapping[str, float]) -> float:
    return sum(shares.get(owner, 1.0) for owner in owners)


def _turn(each: Candidate, virtual: Mapping[str, float]) -> tuple[int, float, int]:
    return (-each.priority, virtual[each.owner], each.arrival)
