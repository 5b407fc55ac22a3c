"""What a hostile program costs its neighbours: the throughput of eight honest tenants beside it.

    python benchmarks/hostile_neighbours.py [--model smollm2] [--seconds 4] [--attacks ...]

Eight tenants generate all the time, each through its own program, every second one with an adapter
of its own. Beside them one hostile tenant starts its program again whenever it has ended, as a
stranger would who tries. Slices without and with the attack take turns; the figure is the median of
the ratios. Every tenant may lead the others by a long prompt's worth, so the first seconds of each
attack have a figure of their own. The answers of all slices must be the same tokens. Exits with 1
when an answer differs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import command_line
import results

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from attacks.programs.attack import GROUND_LIMITS, ProgramAttack
from attacks.programs.ground import HONEST_COUNT, Ground
from attacks.programs.table import ATTACKS

from realm.catalog import Catalog
from realm.errors import RealmError
from realm.runtime import TenantRuntime
from realm.runtime.policy import TenantPolicy

CHOSEN = (
    "endless handler (wasm32)",
    "endless filling of memory",
    "endless work between host calls",
    "endless work after a token",
    "busy wait on realm_now_ms",
    "busy wait on realm_random",
    "logit flood",
    "flood of head products",
    "flood of embeddings",
    "text to tokens without end",
    "much text before each token",
    "answers and rewinds without end",
    "prompts without end",
    "forks and ends without end",
    "recursion without end (wasm32)",
    "recursion through host calls (wasm32)",
    "memory bomb that touches all it gets",
    "stream without end",
    "log without end",
    "sessions without end",
    "trap after realm_session_sample",
    "pointers at every edge: realm_session_sample (wasm64)",
    "adapter flood: two in turns",
    "adapter flood: one that never loads",
    "adapter flood: a session for each",
)
TOKENS = 48
# As an operator would have them; the tests' are so small that an attack is over at once.
HOSTILE_LIMITS = replace(
    GROUND_LIMITS, memory_bytes=4 << 20, compute_seconds=30.0, wall_seconds=60.0, text_bytes=1 << 20
)
PROMPTS = [f"Tell me the story of number {number}." for number in range(HONEST_COUNT)]
Slice = tuple[float, list[tuple[int, ...]]]


class Neighbours:
    """Honest tenants, and one hostile one."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._honest = [ground.tenant(f"honest-{number}") for number in range(HONEST_COUNT)]

    def slice(self, seconds: float) -> Slice:
        """Tokens a second of all honest tenants, and the distinct answers of each prompt."""
        started = time.perf_counter()
        with ThreadPoolExecutor(HONEST_COUNT) as pool:
            done = list(
                pool.map(
                    lambda pair: self._generate(*pair, started + seconds),
                    zip(self._honest, PROMPTS, strict=True),
                )
            )
        elapsed = max(end for end, _, _ in done) - started
        answers = [answer for _, _, found in done for answer in found]
        return sum(count for _, count, _ in done) / elapsed, answers

    def slices_beside(
        self, attack: ProgramAttack, first: float, seconds: float
    ) -> tuple[Slice, Slice, int, float]:
        """The same beside the attack: its first seconds, then the others.

        Also how often the attack was started, and the seconds of its turns.
        """
        program = self._ground.compile(attack.make())
        policy = TenantPolicy(guest_limits=HOSTILE_LIMITS)
        hostile = self._ground.tenant("hostile", program, policy)
        stop = threading.Event()
        attacker = Attacker(hostile, stop)
        attacker.start()
        attacker.began.wait()
        at_first = self.slice(first)
        found = self.slice(seconds)
        stop.set()
        attacker.end()
        return at_first, found, attacker.count, hostile._tenant.account.guest_seconds

    @staticmethod
    def _generate(
        tenant: TenantRuntime, prompt: str, until: float
    ) -> tuple[float, int, list[tuple[int, ...]]]:
        answers: list[tuple[int, ...]] = []
        count = 0
        while True:
            result = tenant.generate(
                prompt,
                max_tokens=TOKENS,
                temperature=0.8,
                seed=len(prompt),
                ignore_eos=True,
                draft_k=0,
            )
            count += len(result.token_ids)
            if result.token_ids not in answers:
                answers.append(result.token_ids)
            if time.perf_counter() >= until:
                return time.perf_counter(), count, answers


class Attacker(threading.Thread):
    """Starts the hostile program again and again."""

    def __init__(self, tenant: TenantRuntime, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.began = threading.Event()
        self.count = 0
        self._tenant = tenant
        self._stop_it = stop
        self._stream = None

    def run(self) -> None:
        while not self._stop_it.is_set():
            self.count += 1
            try:
                self._stream = self._tenant.stream("x", max_tokens=64, seed=1)
                self.began.set()
                for _ in self._stream:
                    pass
            except RealmError:
                pass

    def end(self) -> None:
        """Cancels what runs."""
        while self.is_alive():
            stream = self._stream
            if stream is not None:
                stream._cancel()
            self.join(0.01)


def measure(
    neighbours: Neighbours, attack: ProgramAttack, arguments: argparse.Namespace
) -> tuple[dict[str, object], list[tuple[int, ...]]]:
    """The figures of one attack, and every answer that was given."""
    ratios, first_ratios, quiet_rates, beside_rates, starts = [], [], [], [], 0
    turn_seconds = wall_seconds = 0.0
    answers: list[tuple[int, ...]] = []
    for _ in range(arguments.rounds):
        quiet, found = neighbours.slice(arguments.seconds)
        started = time.perf_counter()
        (at_first, found_first), (beside, found_beside), count, turns = neighbours.slices_beside(
            attack, arguments.first_seconds, arguments.seconds
        )
        wall_seconds += time.perf_counter() - started
        turn_seconds += turns
        ratios.append(beside / quiet)
        first_ratios.append(at_first / quiet)
        quiet_rates.append(quiet)
        beside_rates.append(beside)
        starts += count
        answers += found + found_first + found_beside
    return {
        "attack": attack.name,
        "quiet_tokens_per_second": round(statistics.median(quiet_rates), 1),
        "beside_tokens_per_second": round(statistics.median(beside_rates), 1),
        "share_kept": round(statistics.median(ratios), 3),
        "share_kept_at_first": round(statistics.median(first_ratios), 3),
        "shares": [round(ratio, 3) for ratio in ratios],
        "attack_starts": starts,
        "thread_share_of_attack": round(turn_seconds / wall_seconds, 3),
    }, answers


def main() -> int:
    """Run, print the table, write the JSON; 1 when an answer differs."""
    arguments = _parse()
    attacks = {attack.name: attack for attack in ATTACKS}
    names = list(arguments.attacks or CHOSEN)
    path = Catalog().obtain(arguments.model)
    head = results.begin(model=path.name)
    rows: list[dict[str, object]] = []
    answers: list[tuple[int, ...]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Ground(
            path,
            threads=arguments.threads,
            cache_bytes=512 << 20,
            adapter_folder=Path(folder),
        ) as ground,
    ):
        neighbours = Neighbours(ground)
        neighbours.slice(1.0)
        for name in names:
            row, found = measure(neighbours, attacks[name], arguments)
            rows.append(row)
            answers += found
            print(
                f"{name:52} {row['share_kept']:6.1%} at first {row['share_kept_at_first']:6.1%}"
                f" thread {row['thread_share_of_attack']:6.1%}",
                flush=True,
            )
    different = len(set(answers)) - HONEST_COUNT
    document = head | {
        "threads": arguments.threads,
        "honest_tenants": HONEST_COUNT,
        "slice_seconds": arguments.seconds,
        "first_seconds": arguments.first_seconds,
        "rounds": arguments.rounds,
        "least_share_kept": min(float(str(row["share_kept"])) for row in rows),
        "different_answers": different,
        "attacks": rows,
    }
    print(f"written: {results.write(document, 'hostile-neighbours', arguments.output)}")
    return int(different != 0)


def _parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_line.parser(__doc__, "model", "threads", "output")
    parser.add_argument("--seconds", type=float, default=4.0, help="of one slice")
    parser.add_argument("--first-seconds", type=float, default=2.0, help="of each attack")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--attacks", nargs="*", help="by name (a choice of the table)")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
