"""How plain numbers stand in a file, whichever its format."""

from __future__ import annotations

from typing import NamedTuple

STORED_TYPES = ("F32", "F16", "BF16")
"""Types of plain numbers, as the native core counts them."""


class StoredNumbers(NamedTuple):
    """Plain numbers in a file. position: of the first byte. dtype: an index of STORED_TYPES.
    is_turned: it stands there with rows and columns exchanged."""

    position: int
    dtype: int
    is_turned: bool
