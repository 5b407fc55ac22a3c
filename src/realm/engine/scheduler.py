"""Which rows the next step computes: pure functions on plain data.

Sequences that wait for one token go first, so that no prompt delays them; prompts share what is
left of the step, in chunks that shrink while others decode. Owners take turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sequence that waits for an answer and has `pending` tokens to compute first."""

    sequence: int
    owner: str
    pending: int


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


def plan_step(
    candidates: Sequence[Candidate], turn: int, step_tokens: int, chunk_tokens: int
) -> StepPlan:
    """The rows of the next step.

    turn: any number that grows by one a step; it moves the turn among owners on.
    step_tokens: most rows. chunk_tokens: most rows of one prompt while others decode.
    """
    ordered = _by_turns(candidates, turn)
    decoding = [each for each in ordered if each.pending == 1]
    prompts = [each for each in ordered if each.pending > 1]
    rows = [PlannedRows(each.sequence, 1, True) for each in decoding[:step_tokens]]
    room = step_tokens - len(rows)
    largest = chunk_tokens if decoding else step_tokens
    for prompt in prompts:
        count = min(prompt.pending, room, largest)
        if count <= 0:
            break
        rows.append(PlannedRows(prompt.sequence, count, count == prompt.pending))
        room -= count
    return StepPlan(tuple(rows))


def _by_turns(candidates: Iterable[Candidate], turn: int) -> list[Candidate]:
    # One of each owner, then the second of each, and so on; another owner begins every turn.
    owners: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        owners.setdefault(candidate.owner, []).append(candidate)
    if len(owners) == 1:
        queue = next(iter(owners.values()))
        begin = turn % len(queue)
        return queue[begin:] + queue[:begin]
    queues = list(owners.values())
    begin = turn % len(queues) if queues else 0
    rounds = zip_longest(*(queues[begin:] + queues[:begin]))
    return [each for each in chain.from_iterable(rounds) if each is not None]
