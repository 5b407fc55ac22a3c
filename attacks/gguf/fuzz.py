"""Change a small valid GGUF at random, very often: every file opens or ends in a GGUFError.

    python -m attacks.gguf.fuzz --mutations 100000 --seed 1

Flips bits, cuts, splices, repeats and writes interesting integers; what opens is then read whole.
Prints what came out, how long it took and how far memory grew; exits with 1 on any other outcome.
"""

from __future__ import annotations

import random
import struct
import sys
from functools import cache
from pathlib import Path

from attacks.fuzzing import Fuzz, Mutant, into, main
from attacks.gguf.files import MAGIC, model_file
from realm.errors import GGUFError
from realm.gguf import GGUFFile, StringArray, open_gguf
from realm.kernels.dequantize import MEANINGS, dequantize

INTERESTING = (0, 1, 2, 7, 8, 31, 32, 255, 256, 2**15, 2**16, 2**24, 2**31, 2**32 - 1, 2**32)
INTERESTING_64 = (*INTERESTING, 2**40, 2**60, 2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 32, 2**64 - 1)


def mutate(seed_file: bytes, header_bytes: int, chance: random.Random) -> bytes:
    """A changed copy of `seed_file`: one to four changes, most of them in the header."""
    data = bytearray(seed_file)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        if len(data) <= len(MAGIC):
            break
        end = min(len(data), header_bytes if chance.random() < 0.9 else len(data))
        # The magic is left alone mostly, or nothing behind it would be reached.
        position = chance.randrange(len(MAGIC) if chance.random() < 0.99 else 0, max(end, 5))
        kind = chance.randrange(7)
        if kind == 0:
            data[position] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[position] = chance.randrange(256)
        elif kind == 2:
            del data[position:]
        elif kind == 3:
            data[position : position + 8] = struct.pack("<Q", chance.choice(INTERESTING_64))
        elif kind == 4:
            data[position : position + 4] = struct.pack("<Q", chance.choice(INTERESTING))[:4]
        elif kind == 5:
            del data[position : position + chance.randrange(1, 32)]
        else:
            source = chance.randrange(len(data))
            piece = data[source : source + chance.randrange(1, 64)]
            data[position : position + chance.choice((0, len(piece)))] = piece
    return bytes(data)


def read_everything(file: GGUFFile) -> None:
    """Touch all that an open file offers."""
    for value in file.metadata.values():
        if isinstance(value, StringArray):
            value.to_list()
        else:
            repr(value)
    for name, info in file.tensors.items():
        data = file.tensor_data(name)
        assert data.size == info.size_bytes
        if info.block_type in MEANINGS:
            values = dequantize(data, info.block_type, info.shape)
            assert values.shape == info.shape
        del data
        file.release(name)


def outcome(path: Path) -> str:
    """What opening and reading this file comes to. Anything but a GGUFError passes through."""
    try:
        with open_gguf(path) as file:
            read_everything(file)
    except GGUFError as error:
        if str(path) not in str(error):
            raise AssertionError("the message does not name the file") from error
        return type(error).__name__
    return "opens"


@cache
def _seed_files() -> tuple[bytes, ...]:
    return model_file(version=2), model_file(version=3)


def _mutant(chance: random.Random) -> Mutant:
    header_bytes = _seed_files()[0].index(b"output_norm.weight") + 50
    data = mutate(chance.choice(_seed_files()), header_bytes, chance)
    return Mutant("gguf", data, into("mutated.gguf"))


FUZZ = Fuzz("the GGUF reader", 100_000, _mutant, outcome)


if __name__ == "__main__":
    sys.exit(main(FUZZ))
