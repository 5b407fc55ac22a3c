"""Hundreds of sessions of many tenants for minutes: nothing leaks, every result is as if alone.

    python benchmarks/soak.py [--seconds 180] [--sessions 256] [--threads 2]

Every session follows one of a number of scripts: a prompt, a seed, a count of tokens. Each script
is first run alone, in an engine of its own. Then sessions come and go at random, with priorities
and cancellations, and every token of every one is compared with the script's. The cache is small
enough that sessions wait for pages and lose them. Exits with 1 on a difference, an error or a leak.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import command_line
import results
from process_memory import resident_bytes

from realm.catalog import Catalog
from realm.config import EngineConfig, SamplingParameters
from realm.engine import Engine
from realm.model import ModelStorage, StoredModel

TENANTS = 16
SHARED_BEGINNINGS = 4
SHARED_TOKENS = 96
CANCELLED_SHARE = 0.15
MEAN_PAUSE_SECONDS = 1.0
WARM_UP_SECONDS = 8.0
# What the allocator may keep of differently sized blocks; a page alone is about 0.7 MB.
MEMORY_TOLERANCE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Script:
    """What a session asks, and what it must get."""

    prompt: list[int]
    sampling: SamplingParameters
    expected: array[int]


@dataclass(slots=True)
class Session:
    """One run of a script. leaves_after: tokens after which it is cancelled, if it is."""

    script: Script
    leaves_after: int | None
    asked_at: float
    produced: int = 0
    last_at: float = 0.0


@dataclass(slots=True)
class Tally:
    """What happened. gaps: seconds between a session's tokens. firsts: from asking to the first.

    steps: seconds of each call that computed. seconds: of all calls.
    """

    finished: int = 0
    cancelled: int = 0
    tokens: int = 0
    mismatches: int = 0
    errors: int = 0
    most_at_once: int = 0
    seconds: float = 0.0
    gaps: array[float] = field(default_factory=lambda: array("d"))
    firsts: array[float] = field(default_factory=lambda: array("d"))
    steps: array[float] = field(default_factory=lambda: array("d"))

    @property
    def byte_size(self) -> int:
        """Of these figures themselves, which grow with the tokens."""
        return sum(sys.getsizeof(each) for each in (self.gaps, self.firsts, self.steps))


def write_scripts(model: StoredModel, count: int, threads: int) -> list[Script]:
    """Random prompts of mixed lengths, and what each gives alone."""
    draw = random.Random(7)
    vocabulary = model.hyperparameters.vocabulary_size
    shared = [
        [draw.randrange(vocabulary) for _ in range(SHARED_TOKENS)] for _ in range(SHARED_BEGINNINGS)
    ]
    engine = Engine(EngineConfig(threads=threads, prefix_cache=False))
    scripts = []
    for number in range(count):
        length = min(700, max(4, int(draw.lognormvariate(3.9, 0.9))))
        prompt = [draw.randrange(vocabulary) for _ in range(length)]
        if draw.random() < 0.5:
            prompt = draw.choice(shared) + prompt
        temperature = draw.choice([0.0, 0.8, 1.0])
        sampling = SamplingParameters(temperature=temperature, seed=number)
        tokens = min(300, max(2, int(draw.lognormvariate(4.2, 0.7))))
        sequence = engine.open(model, "alone")
        engine.append(sequence, prompt)
        expected = array("i")
        while len(expected) < tokens:
            engine.sample(sequence, sampling)
            while engine.has_work:
                for output in engine.step():
                    if output.error is not None:
                        raise output.error
                    expected.extend(output.token_ids)
        engine.close(sequence)
        scripts.append(Script(prompt, sampling, expected))
    return scripts


class Crowd:
    """Sessions that come and go. slots: how many there may be at once."""

    def __init__(
        self, engine: Engine, model: StoredModel, scripts: list[Script], slots: int
    ) -> None:
        self._engine = engine
        self._model = model
        self._scripts = scripts
        self._draw = random.Random(11)
        self._open: dict[int, Session] = {}
        self._slots = slots

    def run(self, seconds: float) -> Tally:
        """Arrivals for that long, then to the end of the last session."""
        tally = Tally()
        begin = time.perf_counter()
        arrivals = sorted(self._pause() for _ in range(self._slots))
        while True:
            now = time.perf_counter()
            if now - begin < seconds:
                while arrivals and arrivals[0] <= now - begin:
                    arrivals.pop(0)
                    self._come(now)
            elif not self._open:
                return tally
            ended = self._step(tally) if self._engine.has_work else 0
            now = time.perf_counter() - begin
            arrivals = sorted([*arrivals, *(now + self._pause() for _ in range(ended))])
            tally.most_at_once = max(tally.most_at_once, len(self._open))

    def _pause(self) -> float:
        return self._draw.expovariate(1.0 / MEAN_PAUSE_SECONDS)

    def _come(self, now: float) -> None:
        draw, script = self._draw, self._draw.choice(self._scripts)
        leaves = draw.random() < CANCELLED_SHARE
        owner = f"tenant-{draw.randrange(TENANTS)}"
        number = self._engine.open(self._model, owner, priority=draw.choice([0, 0, 0, 1]))
        self._engine.append(number, script.prompt)
        self._engine.sample(number, script.sampling)
        after = draw.randrange(len(script.expected)) if leaves else None
        self._open[number] = Session(script, after, now)

    def _step(self, tally: Tally) -> int:
        """One step of the engine; how many sessions ended."""
        count, before = self._engine.step_count, time.perf_counter()
        outputs = self._engine.step()
        now = time.perf_counter()
        tally.seconds += now - before
        if self._engine.step_count > count:  # else all answers were known already
            tally.steps.append(now - before)
        ended = sum(self._hear(tally, each, now) for each in outputs)
        return ended + sum(self._leave(tally) for _ in range(self._draw.random() < 0.02))

    def _hear(self, tally: Tally, output, now: float) -> bool:
        session = self._open[output.sequence]
        if output.error is not None:
            tally.errors += 1
            return self._end(output.sequence)
        (token,) = output.token_ids
        tally.mismatches += token != session.script.expected[session.produced]
        tally.tokens += 1
        if session.produced:
            tally.gaps.append(now - session.last_at)
        else:
            tally.firsts.append(now - session.asked_at)
        session.produced += 1
        session.last_at = now
        if session.produced == len(session.script.expected):
            tally.finished += 1
            return self._end(output.sequence)
        self._engine.sample(output.sequence, session.script.sampling)
        if session.leaves_after is not None and session.produced > session.leaves_after:
            tally.cancelled += 1
            return self._end(output.sequence)
        return False

    def _leave(self, tally: Tally) -> bool:
        """Somebody goes whatever he waits for: pages, a prompt's end, a token."""
        if not self._open:
            return False
        tally.cancelled += 1
        return self._end(self._draw.choice(list(self._open)))

    def _end(self, number: int) -> bool:
        self._engine.close(number)
        del self._open[number]
        return True


def take_widest_steps(engine: Engine, model: StoredModel, sessions: int) -> None:
    """The largest steps there can be: as many answers as sessions, as many rows as a step takes.

    The native core keeps what its largest step needed (logits are 4 bytes a token of the vocabulary
    for each answer). Taken before memory is measured, that is not mistaken for a leak.
    """
    policy = SamplingParameters(temperature=1.0, top_p=0.9)
    numbers = [engine.open(model, "warm-up") for _ in range(sessions)]
    for number in numbers:
        engine.append(number, [number % model.hyperparameters.vocabulary_size])
        engine.sample(number, policy)
    while engine.has_work:
        engine.step()
    for number in numbers:
        engine.close(number)
    number = engine.open(model, "warm-up")
    engine.append(number, [1] * min(600, model.hyperparameters.context_length))
    engine.sample(number, policy)
    while engine.has_work:
        engine.step()
    engine.close(number)


def main() -> int:
    """Run, print the table, write the JSON; 1 when something is wrong."""
    arguments = _parse()
    path = Catalog().obtain(arguments.model)
    head = results.begin()
    model = ModelStorage(arguments.threads).load(path)
    begin = time.perf_counter()
    scripts = write_scripts(model, arguments.scripts, arguments.threads)
    alone_seconds = time.perf_counter() - begin
    config = EngineConfig(threads=arguments.threads, cache_bytes=arguments.cache_megabytes << 20)
    engine = Engine(config, time.perf_counter)
    crowd = Crowd(engine, model, scripts, arguments.sessions)
    take_widest_steps(engine, model, arguments.sessions)
    crowd.run(WARM_UP_SECONDS)
    engine.forget_texts()
    pages, memory = engine.free_page_count(model), resident_bytes(trimmed=True)
    before = (engine.preemption_count, engine.reused_page_count)
    tally = crowd.run(arguments.seconds)
    reused = engine.reused_page_count - before[1]
    engine.forget_texts()
    pages_after = engine.free_page_count(model)
    memory_after = resident_bytes(trimmed=True) - tally.byte_size
    median_step = statistics.median(tally.steps)
    gap_50, gap_99 = _percentile(tally.gaps, 0.5), _percentile(tally.gaps, 0.99)
    document = head | {
        "model": path.name,
        "threads": arguments.threads,
        "seconds": arguments.seconds,
        "sessions_at_once": tally.most_at_once,
        "tenants": TENANTS,
        "scripts": arguments.scripts,
        "alone_seconds": round(alone_seconds, 1),
        "finished": tally.finished,
        "cancelled": tally.cancelled,
        "tokens": tally.tokens,
        "tokens_per_second": tally.tokens / tally.seconds,
        "steps": len(tally.steps),
        "preemptions": engine.preemption_count - before[0],
        "reused_pages": reused,
        "cache_pages": pages,
        "median_step_ms": 1e3 * median_step,
        "gap_p50_ms": 1e3 * gap_50,
        "gap_p99_ms": 1e3 * gap_99,
        "gap_p99_per_median_step": gap_99 / median_step,
        "first_token_p50_ms": 1e3 * _percentile(tally.firsts, 0.5),
        "first_token_p99_ms": 1e3 * _percentile(tally.firsts, 0.99),
        "mismatches": tally.mismatches,
        "errors": tally.errors,
        "leaked_pages": pages - pages_after,
        "grown_bytes": memory_after - memory,
    }
    for line in _table(document):
        print(line)
    name = f"soak-{arguments.threads}-threads"
    print(f"written: {results.write(document, name, arguments.output)}")
    wrong = tally.mismatches or tally.errors or pages != pages_after
    return int(bool(wrong) or memory_after - memory > MEMORY_TOLERANCE_BYTES)


def _percentile(values: array[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _table(document: dict) -> Iterator[str]:
    for name, value in document.items():
        if isinstance(value, int | float):
            shown = f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
            yield f"{name.replace('_', ' '):26} {shown:>14}"


def _parse() -> argparse.Namespace:
    parser = command_line.parser(__doc__, "model", "threads", "output")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--sessions", type=int, default=256, help="at once")
    parser.add_argument("--scripts", type=int, default=192, help="different sessions")
    parser.add_argument("--cache-megabytes", type=int, default=384)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
