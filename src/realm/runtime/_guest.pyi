from collections.abc import Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

PARKED: int
FINISHED: int
YIELDED: int
TRAPPED: int
LIMIT: int
CONTRACT: int

@final
class Host:
    def __init__(
        self,
        library_path: str,
        *,
        guest_count: int,
        memory_bytes: int,
        table_elements: int,
        stack_bytes: int,
        tick_microseconds: int,
    ) -> None: ...
    @property
    def pooled(self) -> bool: ...
    def wat_to_wasm(self, source: str, /) -> bytes: ...

@final
class Program:
    def __init__(self, host: Host, wasm: bytes) -> None: ...
    @staticmethod
    def deserialize(host: Host, code: bytes) -> Program: ...
    def serialize(self) -> bytes: ...
    @property
    def imports(self) -> list[tuple[str, str, str, str, str]]: ...
    @property
    def exports(self) -> list[tuple[str, str, str, str, str]]: ...
    @property
    def memory_is_64(self) -> bool: ...
    @property
    def memory_pages(self) -> tuple[int, int | None]: ...
    def link(self, function_numbers: Sequence[int], signedness: Sequence[str]) -> None: ...

@final
class Guest:
    def __init__(
        self,
        program: Program,
        request: bytes,
        *,
        memory_bytes: int,
        slice_ticks: int,
        compute_seconds: float,
        wall_seconds: float,
        abi_version: int,
        # Bytes of prompt, offset of the options, the model's handle, most bytes of text.
        older_form: tuple[int, int, int, int] | None = None,
    ) -> None: ...
    # (function number, arguments) when parked, an int when finished, None when yielded, else a text.
    def poll(self) -> tuple[int, Any]: ...
    @property
    def text(self) -> bytes: ...
    def resume(self, answer: int) -> None: ...
    def contains(self, pointer: int, length: int) -> bool: ...
    def read(self, pointer: int, length: int) -> bytes: ...
    def write(
        self, pointer: int, data: bytes | npt.NDArray[np.float32] | npt.NDArray[np.uint32]
    ) -> None: ...
    @property
    def memory_bytes(self) -> int: ...
    @property
    def compute_seconds(self) -> float: ...
