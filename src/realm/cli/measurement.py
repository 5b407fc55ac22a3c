"""Timed runs of tenants: decode and prefill speed, one sequence or many at once. It never prints.

The text is fixed and the choice greedy, end-of-generation tokens are ignored and nothing is
drafted: every run does the same number of steps. Prompts differ between sessions and rounds, so
that no cache can help.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from realm.errors import ConfigError

if TYPE_CHECKING:
    from realm.runtime import GenerationResult, TenantRuntime

# Any text will do; this one is long enough that its rotations differ.
_TEXT = (
    "The river bends twice before it reaches the town, once around the old mill and once around "
    "a hill that nobody has bothered to name. In spring the water climbs the stone steps behind "
    "the market, and the people who sell bread there carry their tables one street further up. "
    "Nobody complains. They have kept a list of the highest marks since 1784, cut into the wall "
    "of the church: year, day, and the length of a hand above the last step. A bridge was planned "
    "seven times and built once; it stands a little to the left of where every plan had put it. "
)


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens in seconds, twice: of the measured phase alone, and of the whole run.

    tokens, seconds: decode or prefill alone.
    all_tokens, all_seconds: generated (decode) or read (prefill) tokens, over wall time from the
        first request to the last result.
    """

    tokens: int
    seconds: float
    all_tokens: int
    all_seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Of the measured phase alone."""
        return self.tokens / self.seconds

    @property
    def tokens_per_second_overall(self) -> float:
        """With everything in the clock."""
        return self.all_tokens / self.all_seconds


@dataclass(frozen=True, slots=True)
class SessionTimes:
    """When a session's first and last token came, and how many tokens it has."""

    first: float
    last: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Workload:
    """What every round does; `direct` leaves the guest out."""

    text_ids: tuple[int, ...]
    prompt_tokens: int
    tokens: int
    direct: bool

    def prompt(self, number: int) -> list[int]:
        """The prompt of this number: the text, rotated and repeated to `prompt_tokens` ids."""
        start = number * 7 % len(self.text_ids)
        rotated = self.text_ids[start:] + self.text_ids[:start]
        repeats = -(-self.prompt_tokens // len(rotated))
        return list((rotated * repeats)[: self.prompt_tokens])


def workload_text() -> str:
    """The text that prompts are cut from."""
    return _TEXT


def median_speed(speeds: Sequence[Speed]) -> Speed:
    """The run whose rate is the median (the lower of the middle two)."""
    rate = statistics.median_low([speed.tokens_per_second for speed in speeds])
    return next(speed for speed in speeds if speed.tokens_per_second == rate)


def measure_prefill(tenant: TenantRuntime, workload: Workload, number: int) -> Speed:
    """Read one prompt and generate one token."""
    started = time.perf_counter()
    result = tenant.generate(
        token_ids=workload.prompt(number), max_tokens=1, temperature=0.0, ignore_eos=True,
        draft_k=0, direct=workload.direct,
    )  # fmt: skip
    wall_seconds = time.perf_counter() - started
    read = result.timings.prompt_tokens
    return Speed(read, _positive(result.timings.prefill_seconds), read, wall_seconds)


def measure_decode(tenant: TenantRuntime, workload: Workload, number: int) -> Speed:
    """Generate on one sequence; the clock of decode runs from the first token to the last."""
    started = time.perf_counter()
    result = tenant.generate(
        token_ids=workload.prompt(number), max_tokens=workload.tokens, temperature=0.0,
        ignore_eos=True, draft_k=0, direct=workload.direct,
    )  # fmt: skip
    wall_seconds = time.perf_counter() - started
    generated = len(result.token_ids)
    return Speed(generated - 1, _positive(result.timings.decode_seconds), generated, wall_seconds)


def measure_batch(tenants: Sequence[TenantRuntime], workload: Workload, number: int) -> Speed:
    """Generate on every tenant at once, a thread each; the first one's tokens are watched.

    Only one stream is read while the clock runs: delivering every token to a thread of its own
    would measure Python's lock.
    """
    prompts = [workload.prompt(number * len(tenants) + index) for index in range(len(tenants))]
    sessions: list[SessionTimes] = []
    failures: list[BaseException] = []
    start = threading.Event()

    def generate(index: int) -> None:
        start.wait()
        submitted = time.perf_counter()
        try:
            result = tenants[index].generate(
                token_ids=prompts[index], max_tokens=workload.tokens, temperature=0.0,
                ignore_eos=True, draft_k=0, direct=workload.direct,
            )  # fmt: skip
        except BaseException as error:  # handed to the caller's thread
            failures.append(error)
        else:
            sessions.append(_session_times(submitted, result))

    threads = [
        threading.Thread(target=generate, args=(index,), daemon=True)
        for index in range(1, len(tenants))
    ]
    for thread in threads:
        thread.start()
    started = time.perf_counter()
    try:
        stream = tenants[0].stream(
            token_ids=prompts[0], max_tokens=workload.tokens, temperature=0.0,
            ignore_eos=True, draft_k=0, direct=workload.direct,
        )  # fmt: skip
    finally:
        start.set()
    watched = [(time.perf_counter(), len(piece.token_ids)) for piece in stream]
    for thread in threads:
        thread.join()
    wall_seconds = time.perf_counter() - started
    if failures:
        raise failures[0]
    sessions.append(_session_times(started, stream.result))
    tokens, seconds = decode_alone(sessions, watched)
    return Speed(tokens, _positive(seconds), sum(each.tokens for each in sessions), wall_seconds)


def measure_tenants(tenants: Sequence[TenantRuntime], workload: Workload, number: int) -> Speed:
    """`measure_decode` of one tenant, `measure_batch` of more."""
    if len(tenants) == 1:
        return measure_decode(tenants[0], workload, number)
    return measure_batch(tenants, workload, number)


def decode_alone(
    sessions: Sequence[SessionTimes], watched: Sequence[tuple[float, int]]
) -> tuple[int, float]:
    """Tokens and seconds from the last session's first token to the very last token.

    watched: when how many tokens of the session that began first came. As all sessions advance
    together, it tells how many tokens a session had before that time; those are not counted.
    """
    begin = max(session.first for session in sessions)
    end = max(session.last for session in sessions)
    tokens = 0
    for session in sessions:
        early = sum(count for when, count in watched if session.first < when <= begin)
        tokens += max(session.tokens - 1 - early, 0)
    return tokens, end - begin


def _session_times(submitted: float, result: GenerationResult) -> SessionTimes:
    first = submitted + result.timings.first_token_seconds
    return SessionTimes(first, first + result.timings.decode_seconds, len(result.token_ids))


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ConfigError("the run was too short to be timed: raise --tokens or --prompt-tokens")
    return seconds
