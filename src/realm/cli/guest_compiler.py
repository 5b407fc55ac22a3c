"""Builds guest programs from C with whichever compiler is here: Zig's clang, or clang with wasm-ld.

The SDK (headers and shared parts) stands beside the package or in the checkout; nothing is fetched.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import realm
from realm.errors import GuestCompileError, NotSupportedError

STACK_BYTES = 16 << 10
_FLAGS = (
    "-std=c11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffreestanding",
    "-fno-builtin",
    "-nostdlib",
    "-g0",
    "-Wl,--no-entry",
    "-Wl,--export-memory",
    "-Wl,--strip-all",
    f"-Wl,-z,stack-size={STACK_BYTES}",
)
_CLANG = ("clang", *(f"clang-{version}" for version in range(22, 13, -1)))
_LINKER = ("wasm-ld", *(f"wasm-ld-{version}" for version in range(22, 13, -1)))


def sdk_directory() -> Path:
    """The folder with `include` and `template`. Raises NotSupportedError when there is none."""
    package = Path(realm.__file__).parent
    for folder in (package / "sdk", package.parents[1] / "guests"):
        if (folder / "include" / "realm.h").is_file():
            return folder
    raise NotSupportedError("the guest SDK is not installed beside this package")


def compiler_command(*, wide: bool = False) -> list[str]:
    """The words that start a C compiler for WASM, flags included; wide: 64-bit addresses.

    Raises NotSupportedError that says what to install.
    """
    width = 64 if wide else 32
    if importlib.util.find_spec("ziglang") is not None:
        command = [sys.executable, "-m", "ziglang", "cc", "-target", f"wasm{width}-freestanding"]
        return [*command, *_FLAGS]
    clang = next(filter(None, map(shutil.which, _CLANG)), None)
    linker = next(filter(None, map(shutil.which, _LINKER)), None)
    if clang is not None and linker is not None:
        return [clang, f"--target=wasm{width}", f"-fuse-ld={linker}", *_FLAGS]
    raise NotSupportedError(
        "no C compiler for WASM: `pip install ziglang`, or install clang and lld (wasm-ld)"
    )


def compile_guest(
    sources: Sequence[Path],
    output: Path,
    *,
    wide: bool = False,
    working_directory: Path | None = None,
) -> None:
    """Writes one program: the sources, and what they use of the SDK's shared parts.

    working_directory: what relative sources are relative to, and all that the program could tell
    of this machine. Raises NotSupportedError without a compiler, GuestCompileError with its words.
    """
    include = sdk_directory() / "include"
    parts = sorted(path for path in include.glob("*.c") if not _stands_among(path, sources))
    command = [*compiler_command(wide=wide), f"-I{include}", *map(str, [*sources, *parts])]
    command += ["-o", str(output)]
    done = subprocess.run(  # noqa: S603
        command,
        cwd=working_directory,
        capture_output=True,
        text=True,
        errors="replace",  # it quotes paths and sources, which may be anything
        check=False,
    )
    if done.returncode != 0:
        raise GuestCompileError(f"the compiler refused the program\n{done.stderr.strip()}")


def _stands_among(part: Path, sources: Sequence[Path]) -> bool:
    return any(source.name == part.name for source in sources)
