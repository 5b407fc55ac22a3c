"""Many tenants, each with its own adapter: Realm beside llama-server with the same adapters.

    python benchmarks/tenants_contest.py [--model NAME|PATH] [--tenants 16] [--rank 16] [--rounds 5]

In turns; each run is a process of its own that warms up first. The figure is generated tokens over
the time from the first request to the last answer, prompts in the clock: clients of a server know
nothing else. Both get the same files, the same prompts and the same threads.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import command_line
import peers
import realm_bench
import results
import rounds
from llama_server import serve

from realm.catalog import Catalog
from realm.cli.adapter_base import read_adapter_base
from realm.cli.measurement import Workload, workload_text
from realm.cli.random_adapters import write_random_adapter
from realm.gguf import open_gguf
from realm.model.tokenizer import load_tokenizer

REALM, LLAMA = "realm", "llama-server"
WARM_UP_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Load:
    """What every contestant does."""

    model: Path
    tenants: int
    rank: int
    prompt_tokens: int
    tokens: int
    threads: int


@dataclass(frozen=True, slots=True)
class Pair:
    """Tokens a second with and without adapters, of one process."""

    adapted: float
    base: float
    peak_rss_bytes: int


def run_realm(load: Load) -> Pair:
    """`realm bench tenants`, guests and all; it makes the same adapters itself."""
    words = ("--tenants", load.tenants, "--rank", load.rank, "--tokens", load.tokens)
    document = realm_bench.run(
        "tenants",
        load.model,
        *map(str, words),
        threads=load.threads,
        repeats=1,
        prompt_tokens=load.prompt_tokens,
    )
    return Pair(
        document["tokens_per_second_overall"],
        document["base_tokens_per_second_overall"],
        document["peak_rss_bytes"],
    )


def run_llama(peer: peers.LlamaCpp, load: Load, adapters: list[Path]) -> Pair:
    """One round without adapters and one with, after a short one of each."""
    with open_gguf(load.model) as file:
        tokenizer = load_tokenizer(file.metadata)
    text_ids = tuple(tokenizer.encode(workload_text(), add_special=False))
    workload = Workload(text_ids, load.prompt_tokens, load.tokens, direct=False)
    # As Realm's rounds number them: a warm-up and a measured one, each base first.
    prompts = [workload.prompt(2 * load.tenants + client) for client in range(load.tenants)]
    # Each slot has its share of the context, of at least 512 tokens.
    context = load.tenants * max(512, load.prompt_tokens + load.tokens)
    slots, threads = load.tenants, load.threads
    with serve(peer, load.model, adapters, slots=slots, context=context, threads=threads) as server:
        rates = []
        for adapted in (False, True):
            server.ask(prompts, WARM_UP_TOKENS, adapted=adapted)
            answers = server.ask(prompts, load.tokens, adapted=adapted)
            rates.append(answers.tokens / answers.seconds)
        return Pair(rates[1], rates[0], server.peak_rss_bytes())


def write_adapters(folder: Path, load: Load) -> list[Path]:
    """The files that `realm bench tenants` writes for itself."""
    base = read_adapter_base(load.model)
    return [
        write_random_adapter(folder / f"{number}.gguf", base, load.rank, number)
        for number in range(load.tenants)
    ]


def table(found: dict[str, list[Pair]]) -> str:
    """Medians over the rounds with their ranges, and ratios within rounds."""
    lines = ["tokens/s, prompts in the clock    with adapters       without"]
    for name, pairs in found.items():
        adapted, base = [p.adapted for p in pairs], [p.base for p in pairs]
        lines.append(f"{name:<24} {rounds.spread(adapted)!s:>24} {rounds.spread(base)!s:>24}")
    ours, theirs = found[REALM], found[LLAMA]
    mine = [p.adapted for p in ours]
    against = rounds.ratio(mine, [p.adapted for p in theirs])
    of_base = rounds.ratio(mine, [p.base for p in ours])
    lines.append(f"realm, of llama-server with adapters: {against}")
    lines.append(f"realm, of its own base: {of_base}")
    return "\n".join(lines)


def main() -> int:
    """Measure, print, write the JSON."""
    arguments = _parse()
    load = Load(
        Path(Catalog().obtain(arguments.model)), arguments.tenants, arguments.rank,
        arguments.prompt_tokens, arguments.tokens, arguments.threads,
    )  # fmt: skip
    peer = peers.choose(arguments.peer_binaries, arguments.peers)
    document = results.begin(peer=peer.package, rounds=arguments.rounds)
    document["load"] = asdict(load) | {"model": load.model.name}
    with tempfile.TemporaryDirectory(prefix="realm-bench-") as folder:
        adapters = write_adapters(Path(folder), load)
        field: dict[str, Callable[[], Pair]] = {
            REALM: lambda: run_realm(load),
            LLAMA: lambda: run_llama(peer, load, adapters),
        }
        found = rounds.in_turns(field, arguments.rounds, _tell)
    document["tokens_per_second"] = {
        name: [asdict(pair) for pair in pairs] for name, pairs in found.items()
    }
    print(table(found))
    name = f"tenants-contest-{load.model.stem}-{load.tenants}"
    print(f"written: {results.write(document, name, arguments.output)}")
    return 0


def _tell(number: int, name: str, pair: Pair) -> None:
    text = f"round {number}: {name}: {pair.adapted:.1f} with adapters, {pair.base:.1f} without"
    print(text, file=sys.stderr)


def _parse() -> argparse.Namespace:
    parser = command_line.parser(__doc__, "model", "threads", "output")
    parser.add_argument("--tenants", type=int, default=16)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    peers.add_arguments(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
