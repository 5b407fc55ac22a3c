"""What the server makes of faults: each one is done to a real `realm serve`, and looked at.

    python benchmarks/serve_faults.py [--model smollm2] [--only engine_killed ...] [--list]

Each fault has a server of its own with four tenants, keys, adapters and a program that keeps state.
Beside what the fault itself demands, afterwards every tenant, key and item must be listed as
before, every key must get the same answer as before, the program must know its count, and files,
threads and memory of both processes must be as before. Exits with 1 when one fails. The full disk
is a small file system in memory, which takes the right to mount one. Linux only.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import command_line
import fault_connections
import fault_fuzz
import fault_processes
import fault_storage
import results
from fault_ground import MORE, Finding, Ground
from text_table import lay_out

from realm.catalog import Catalog
from realm.cli.adapter_base import read_adapter_base
from realm.cli.random_adapters import write_random_adapter

_RANK = 4
_SMALL_DISK = "48m"
_FRONT_BYTES = 32 << 20  # that it may have grown by
_ENGINE_BYTES = 128 << 20  # the same; its cache fills with what was generated


@dataclass(frozen=True, slots=True)
class Fault:
    """act: does it to the ground, and says what it saw. has_small_disk: for the data directory."""

    act: Callable[[Ground, Finding], None]
    has_small_disk: bool = False

    @property
    def name(self) -> str:
        """Of the function."""
        return self.act.__name__


FAULTS = (
    Fault(fault_processes.engine_killed),
    Fault(fault_processes.engine_killed_again_and_again),
    Fault(fault_processes.engine_killed_at_its_start),
    Fault(fault_processes.engine_stopped),
    Fault(fault_processes.front_killed),
    Fault(fault_processes.front_killed_and_started_at_once),
    Fault(fault_processes.port_taken),
    Fault(fault_storage.disk_full, has_small_disk=True),
    Fault(fault_storage.files_limited),
    Fault(fault_storage.database_locked),
    Fault(fault_storage.database_removed),
    Fault(fault_storage.database_spoiled),
    Fault(fault_connections.slow_headers),
    Fault(fault_connections.slow_bodies),
    Fault(fault_connections.bodies_that_stop),
    Fault(fault_connections.never_reading),
    Fault(fault_connections.half_open),
    Fault(fault_connections.connections_dropped),
    Fault(fault_connections.web_sockets_dropped),
    Fault(fault_fuzz.malformed_requests),
    Fault(fault_fuzz.malformed_frames),
)


def run(fault: Fault, model: Path, adapters: list[Path], threads: int) -> dict[str, Any]:
    """The fault, between two looks at everything. `problems` is empty when it passed."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="realm-faults-") as name:
        home = Path(name) / "home"
        disk = _small_disk(home / "server") if fault.has_small_disk else contextlib.nullcontext()
        with disk, Ground(home, model, adapters, threads) as ground:
            ground.warm_up()
            looked = ground.look()
            count = ground.counted()
            before = ground.figures()
            finding = Finding()
            try:
                fault.act(ground, finding)
                after = ground.settle(before)
                _compare(finding, looked, ground.look(), before, after)
                counted = ground.counted()
                finding.require(counted > count, f"the program's count went back to {counted}")
            except Exception as error:  # the other faults are still to be tried
                finding.problems.append(f"{type(error).__name__}: {error}")
                after = ground.figures()
            secrets = [*ground.keys.values(), ground.off_key, ground.served.admin_key]
            log = ground.log()
            finding.require(not any(each in log for each in secrets), "the log has a key")
            if finding.problems:
                print(log[-3000:], file=sys.stderr)
    return {
        "fault": fault.name,
        "is": (fault.act.__doc__ or "").strip(),
        "passed": not finding.problems,
        "problems": finding.problems,
        "back_seconds": [round(each, 2) for each in finding.back_seconds],
        "seen": finding.seen,
        "before": before,
        "after": after,
        "seconds": round(time.perf_counter() - started, 1),
    }


def _compare(
    finding: Finding,
    looked: dict[str, Any],
    looks: dict[str, Any],
    before: dict[str, dict[str, int]],
    after: dict[str, dict[str, int]],
) -> None:
    for name in ("listing", "answers"):
        for key, value in looked[name].items():
            finding.require(looks[name][key] == value, f"{key} was {value}, is {looks[name][key]}")
    finding.require(looks["key_turned_off"] == 401, "a key that was turned off opens something")
    most = {"front": _FRONT_BYTES, "engine": _ENGINE_BYTES}
    for name, figures in before.items():
        now = after.get(name)
        if now is None:
            finding.problems.append(f"there is no {name}")
            continue
        for figure, allowed in MORE.items():
            more = now[figure] - figures[figure]
            finding.require(more <= allowed, f"{name}: {more} more {figure}")
        grown = now["resident_bytes"] - figures["resident_bytes"]
        finding.require(grown <= most[name], f"{name}: {grown >> 20} MiB more memory")


@contextlib.contextmanager
def _small_disk(place: Path) -> Iterator[None]:
    place.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={_SMALL_DISK},mode=0700", "tmpfs", str(place)]
    subprocess.run(["mount", *options], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _row(found: dict[str, Any]) -> list[str]:
    def change(process: str, figure: str, unit: int = 1) -> str:
        pair = [found[when].get(process, {}).get(figure) for when in ("before", "after")]
        return " > ".join("-" if each is None else str(each // unit) for each in pair)

    back = f"{max(found['back_seconds']):.2f}" if found["back_seconds"] else ""
    row = [found["fault"], "passed" if found["passed"] else "FAILED", back]
    for process in ("front", "engine"):
        row += [change(process, "files"), change(process, "threads")]
        row.append(change(process, "resident_bytes", 1 << 20))
    return row


def main() -> int:
    """Run, print, write the JSON; 1 when a fault failed."""
    parser = command_line.parser(__doc__, "model", "threads", "output")
    names = [fault.name for fault in FAULTS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="FAULT", default=names)
    parser.add_argument("--list", action="store_true", help="print the faults and end")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(f"{fault.name:34}{fault.act.__doc__}" for fault in FAULTS))
        return 0
    path = Catalog().obtain(arguments.model)
    document = results.begin(model=path.name, threads=arguments.threads)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        base = read_adapter_base(path)
        adapters = [
            write_random_adapter(Path(folder) / f"{n}.gguf", base, _RANK, n) for n in range(2)
        ]
        for fault in FAULTS:
            if fault.name in arguments.only:
                one = run(fault, path, adapters, arguments.threads)
                found.append(one)
                words = "passed" if one["passed"] else f"FAILED: {'; '.join(one['problems'])}"
                print(f"{fault.name}: {words}\n  {one['seen']}", flush=True)
    head = ["fault", "", "back, s", "front files", "threads", "MiB", "engine files", "threads"]
    print("\n" + lay_out([[*head, "MiB"], *map(_row, found)]))
    document |= {"faults": found, "passed": all(each["passed"] for each in found)}
    print(f"written: {results.write(document, 'serve-faults', arguments.output)}")
    return int(not document["passed"])


if __name__ == "__main__":
    sys.exit(main())
