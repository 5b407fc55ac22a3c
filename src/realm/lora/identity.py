"""The digest of an adapter.

SHA-256 over what the numbers are for, and over the SHA-256 of every 4 MiB of them as float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

_DIGEST_TAG = b"realm adapter 1"


class Identity:
    """A digest that may still be computed when it is first asked for.

    meaning: what the numbers are for. digests: those of the numbers' parts, one after another; it
    waits for them, and any thread may call it.
    """

    __slots__ = ("_digest", "_digests", "_meaning")

    def __init__(self, meaning: bytes, digests: Callable[[], bytes]) -> None:
        self._meaning = meaning
        self._digests: Callable[[], bytes] = digests
        self._digest: bytes | None = None

    @property
    def digest(self) -> bytes:
        """32 bytes; waits until they are known."""
        if self._digest is None:
            whole = _DIGEST_TAG + self._meaning + self._digests()
            self._digest = hashlib.sha256(whole).digest()
        return self._digest
