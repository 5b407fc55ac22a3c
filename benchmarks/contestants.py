"""What is compared: one case of one contestant is one process, and one figure comes out of it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import peers
import process
import realm_bench

PROBE_MEGABYTES = 512  # well past any cache


@dataclass(frozen=True, slots=True)
class Case:
    """One size of work. batch: sequences at once; tokens: 0 where only the prompt is read."""

    name: str
    batch: int
    prompt_tokens: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Figure:
    """What one process measured."""

    tokens_per_second: float
    peak_rss_bytes: int


CASES = (
    Case("decode 1", 1, 64, 64),
    Case("decode 16", 16, 64, 64),
    Case("prefill 512", 1, 512, 0),
)


def run_realm(
    case: Case,
    model: Path,
    threads: int,
    repeats: int,
    *,
    direct: bool = False,
    cores: Sequence[int] | None = None,
) -> Figure:
    """`realm bench` of this interpreter's environment. cores: the only ones it may run on."""
    words = ["--tokens", str(case.tokens), "--batch", str(case.batch)] if case.tokens else []
    document = realm_bench.run(
        "decode" if case.tokens else "prefill",
        model,
        *words,
        *(["--direct"] if direct else []),
        threads=threads,
        repeats=repeats,
        prompt_tokens=case.prompt_tokens,
        cores=cores,
    )
    return Figure(document["tokens_per_second"], document["peak_rss_bytes"])


def bytes_per_step(model: Path) -> int:
    """Bytes of weights that one step of Realm reads, as packed."""
    shortest = ("--tokens", "2", "--batch", "1", "--direct")
    document = realm_bench.run("decode", model, *shortest, threads=1, repeats=1, prompt_tokens=1)
    return int(document["roofline"]["bytes_per_step"])


def run_bandwidth(program: Path, step_bytes: int, threads: int) -> Figure:
    """The steps a second that memory allows when each reads the weights once."""
    finished = process.run([str(program), str(threads), str(PROBE_MEGABYTES)])
    rate = json.loads(finished.stdout)["read_bytes_per_second"]
    return Figure(rate / step_bytes, finished.peak_rss_bytes)


def run_llama_cpp(
    peer: peers.LlamaCpp, case: Case, model: Path, threads: int, repeats: int
) -> Figure:
    """llama-bench, or llama-batched-bench for several sequences; both warm up by themselves."""
    if peer.binaries is None:
        return _run_probe(peer, case, model, threads, repeats)
    if case.batch > 1:
        context = case.batch * (case.prompt_tokens + case.tokens)
        command = [str(peer.binaries / "llama-batched-bench"), "-m", str(model)]
        command += ["-t", str(threads), "-c", str(context), "-npp", str(case.prompt_tokens)]
        command += ["-ntg", str(case.tokens), "-npl", str(case.batch), "--output-format", "jsonl"]
        finished = process.run(command, peer.environment())
        lines = [line for line in finished.stdout.splitlines() if line.startswith("{")]
        return Figure(json.loads(lines[-1])["speed_tg"], finished.peak_rss_bytes)
    command = [str(peer.binaries / "llama-bench"), "-m", str(model), "-o", "json"]
    command += ["-t", str(threads), "-r", str(repeats)]
    if case.tokens:
        # The same place in the context: after a prompt of prompt_tokens.
        command += ["-p", "0", "-n", str(case.tokens), "-d", str(case.prompt_tokens)]
    else:
        command += ["-p", str(case.prompt_tokens), "-n", "0"]
    finished = process.run(command, peer.environment())
    samples = json.loads(finished.stdout)[-1]["samples_ts"]
    return Figure(statistics.median(samples), finished.peak_rss_bytes)


def _run_probe(peer: peers.LlamaCpp, case: Case, model: Path, threads: int, repeats: int) -> Figure:
    command = [str(peer.python), str(peers.PROBE), str(model), str(threads), str(case.batch)]
    command += [str(case.prompt_tokens), str(case.tokens), str(repeats)]
    finished = process.run(command)
    lines = [line for line in finished.stdout.splitlines() if line.startswith("{")]
    return Figure(json.loads(lines[-1])["tokens_per_second"], finished.peak_rss_bytes)
