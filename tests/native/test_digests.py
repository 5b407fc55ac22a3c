"""BLAKE3 of every instruction set against the package of that name."""

import numpy as np
import pytest
from tests.dealt import dealt_blake3

from realm.kernels import INSTRUCTION_SETS, _native

RUNNING = [name for name in INSTRUCTION_SETS if _native.can_run(name)]
CHUNK = 1024
SIZES = [
    *(0, 1, 63, 64, 65, CHUNK - 1, CHUNK, CHUNK + 1),
    *(
        chunks * CHUNK + rest
        for chunks in (2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 48, 52)
        for rest in (0, 9)
    ),
    *(64 * CHUNK, 100 * CHUNK + 777, 300_000),
]
"""Around blocks, chunks, and what the lanes of an instruction set take at once."""


@pytest.mark.parametrize("instruction_set", RUNNING)
@pytest.mark.parametrize("size", SIZES)
def test_digests(instruction_set: str, size: int) -> None:
    data = np.random.default_rng(size).integers(0, 256, size).astype(np.uint8)
    assert _native.dealt_blake3(instruction_set, data) == dealt_blake3(data.tobytes())
