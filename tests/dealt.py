"""BLAKE3 of numbers whose words are dealt to chunks, by the package of that name."""

import numpy as np
from blake3 import blake3

GROUP_BYTES, CHUNKS = 16 << 10, 16


def dealt_blake3(data: bytes) -> bytes:
    """Of every whole 16 KiB the i-th word goes to the (i % 16)-th chunk of 1 KiB."""
    end = len(data) // GROUP_BYTES * GROUP_BYTES
    words = np.frombuffer(data[:end], np.uint32).reshape(-1, GROUP_BYTES // 4 // CHUNKS, CHUNKS)
    return blake3(words.swapaxes(1, 2).tobytes() + data[end:]).digest()
