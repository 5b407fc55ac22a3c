"""A parked guest's memory, with every pointer and length checked before anything is copied.

Nothing keeps a view of it: base and size are read anew at each host call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from realm.errors import ContextLengthError
from realm.runtime.contract import ErrorCode
from realm.runtime.host_call import HostCallError

if TYPE_CHECKING:
    from realm.runtime._guest import Guest
    from realm.runtime.component_guest import ComponentGuest

_WORD_BYTES = 4


class GuestMemory:
    """Reads and writes for host functions; all raise HostCallError(POINTER) outside the memory."""

    def __init__(self, guest: Guest | ComponentGuest) -> None:
        self._guest: Guest | ComponentGuest | None = guest

    def release(self) -> None:
        """Lets go of the guest, which has ended."""
        self._guest = None

    def require(self, pointer: int, length: int) -> None:
        """`length` bytes at `pointer` must lie inside the memory."""
        guest = self._guest
        if guest is None or length >= 1 << 48 or not guest.contains(pointer, length):
            raise HostCallError(
                ErrorCode.POINTER, f"{length} bytes at {pointer} are outside the guest's memory"
            )

    def read(self, pointer: int, length: int) -> bytes:
        """A copy of the bytes."""
        self.require(pointer, length)
        assert self._guest is not None
        return self._guest.read(pointer, length)

    def read_text(self, pointer: int, length: int) -> str:
        """The bytes as UTF-8; HostCallError(UTF8) when they are not."""
        try:
            return self.read(pointer, length).decode()
        except UnicodeDecodeError as error:
            raise HostCallError(ErrorCode.UTF8, f"byte {error.start}: {error.reason}") from None

    def read_ids(
        self, pointer: int, count: int, vocabulary_size: int, count_limit: int
    ) -> list[int]:
        """u32 token ids.

        ContextLengthError for more than count_limit, HostCallError(TOKENIZER) for one outside the
        vocabulary.
        """
        if count > count_limit:
            self.require(pointer, count * _WORD_BYTES)
            raise ContextLengthError(f"{count} token ids, at most {count_limit} are taken")
        ids = memoryview(self.read(pointer, count * _WORD_BYTES)).cast("I").tolist()
        if ids and max(ids) >= vocabulary_size:
            raise HostCallError(
                ErrorCode.TOKENIZER,
                f"token {max(ids)} is outside the vocabulary of {vocabulary_size}",
            )
        return ids

    def read_floats(self, pointer: int, count: int) -> npt.NDArray[np.float32]:
        """A copy of f32 [count]."""
        return np.frombuffer(self.read(pointer, count * _WORD_BYTES), "<f4")

    def put(self, pointer: int, data: bytes) -> None:
        """Copies bytes to where `require` has found room for them in this call."""
        assert self._guest is not None
        self._guest.write(pointer, data)

    def write(
        self, pointer: int, data: bytes | npt.NDArray[np.float32] | npt.NDArray[np.uint32]
    ) -> None:
        """Copies the bytes of `data`, which is contiguous."""
        length = data.nbytes if isinstance(data, np.ndarray) else len(data)
        self.require(pointer, length)
        assert self._guest is not None
        self._guest.write(pointer, data)
