"""Who can be measured: contestants by name, and the model files they need."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import contestants
import contests
import peers
import process
from contestants import Case, Figure
from missing import UnavailableError
from vllm_peer import Vllm

from realm.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Field:
    """folder: of the peers and what is made for them. threads: of every contestant."""

    llama: peers.LlamaCpp
    vllm: Vllm
    folder: Path
    threads: int
    repeats: int

    def model(self, name: str) -> Path:
        """The file of a model: as `contests` names it, as the catalog does, or a path.

        Raises UnavailableError, CatalogError.
        """
        if name not in contests.REQUANTISED:
            return Catalog().obtain(contests.CATALOG_NAMES.get(name, name))
        block_type = contests.REQUANTISED[name]
        target = self.folder / "models" / f"smollm2-{block_type}.gguf"
        return self.llama.requantise(self.model(contests.SMOLLM2), block_type, target)

    def contestant(self, name: str, model: Path, case: Case) -> Callable[[], Figure]:
        """One measurement by this contestant. Raises UnavailableError, as the measurement may."""
        work = (case, model, self.threads, self.repeats)
        if name == contests.LLAMA:
            return partial(contestants.run_llama_cpp, self.llama, *work)
        if name == contests.LLAMA_Q4_0:
            other = (case, self.model("SmolLM2 Q4_0"), self.threads, self.repeats)
            return partial(contestants.run_llama_cpp, self.llama, *other)
        if name == contests.VLLM:
            self.vllm.measure(case, 1)  # whatever keeps it from running shows here
            return partial(self.vllm.measure, case, self.repeats)
        if name == contests.BANDWIDTH:
            program = peers.bandwidth_program(self.folder)
            step_bytes = contestants.bytes_per_step(model)
            return partial(contestants.run_bandwidth, program, step_bytes, self.threads)
        if name in (contests.REALM, contests.DIRECT):
            return partial(contestants.run_realm, *work, direct=name == contests.DIRECT)
        return self._on_two_cores(name, work)

    def _on_two_cores(self, name: str, work: tuple[Case, Path, int, int]) -> Callable[[], Figure]:
        cores = sorted(os.sched_getaffinity(0))[:2]
        if len(cores) < 2:
            raise UnavailableError("it takes two cores")

        def measure() -> Figure:
            if name == contests.QUIET:
                return contestants.run_realm(*work, cores=cores)
            with process.busy_on(cores[-1]):
                return contestants.run_realm(*work, cores=cores)

        return measure
