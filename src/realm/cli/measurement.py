"""Timed runs of tenants: decode and prefill speed, one sequence or many at once. It never prints.

The text is fixed and the choice greedy, end-of-generation tokens are ignored: every run does the
same number of steps. Prompts differ between sessions and rounds, so that no cache can help.
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
    from realm.runtime import TenantRuntime

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
        direct=workload.direct,
    )  # fmt: skip
    wall_seconds = time.perf_counter() - started
    read = result.timings.prompt_tokens
    return Speed(read, _positive(result.timings.prefill_seconds), read, wall_seconds)


def measure_decode(tenant: TenantRuntime, workload: Workload, number: int) -> Speed:
    """Generate on one sequence; the clock of decode runs from the first token to the last."""
    started = time.perf_counter()
    result = tenant.generate(
        token_ids=workload.prompt(number), max_tokens=workload.tokens, temperature=0.0,
        ignore_eos=True, direct=workload.direct,
    )  # fmt: skip
    wall_seconds = time.perf_counter() - started
    generated = len(result.token_ids)
    return Speed(generated - 1, _positive(result.timings.decode_seconds), generated, wall_seconds)


def measure_batch(tenants: Sequence[TenantRuntime], workload: Workload, number: int) -> Speed:
    """Generate on every tenant at once, a thread each.

    Decode alone is what arrives while all of them decode: after the last one's first token and
    up to the first one's last token.
    """
    barrier = threading.Barrier(len(tenants) + 1)
    arrivals: list[list[tuple[float, int]]] = [[] for _ in tenants]
    failures: list[BaseException] = []

    def consume(index: int, tenant: TenantRuntime) -> None:
        barrier.wait()
        try:
            stream = tenant.stream(
                token_ids=workload.prompt(number * len(tenants) + index),
                max_tokens=workload.tokens, temperature=0.0, ignore_eos=True,
                direct=workload.direct,
            )  # fmt: skip
            for piece in stream:
                arrivals[index].append((time.perf_counter(), len(piece.token_ids)))
        except BaseException as error:  # handed to the caller's thread
            failures.append(error)

    threads = [
        threading.Thread(target=consume, args=pair, daemon=True) for pair in enumerate(tenants)
    ]
    for thread in threads:
        thread.start()
    barrier.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    wall_seconds = time.perf_counter() - started
    if failures:
        raise failures[0]
    tokens, seconds = steady_window(arrivals)
    generated = sum(count for session in arrivals for _, count in session)
    return Speed(tokens, seconds, generated, wall_seconds)


def steady_window(arrivals: Sequence[Sequence[tuple[float, int]]]) -> tuple[int, float]:
    """Tokens and seconds of the time in which every session decodes.

    arrivals: for every session, when how many tokens came. ConfigError when there is no such time.
    """
    if not all(arrivals):
        raise ConfigError("a session produced nothing to measure")
    begin = max(session[0][0] for session in arrivals)
    end = min(session[-1][0] for session in arrivals)
    tokens = sum(count for session in arrivals for when, count in session if begin < when <= end)
    if end <= begin or not tokens:
        raise ConfigError("the sessions never decode at the same time: raise --tokens")
    return tokens, end - begin


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ConfigError("the run was too short to be timed: raise --tokens or --prompt-tokens")
    return seconds
