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
# How a host call is answered: by the host, or on the guest's own stack where that can be done.
PARKS: int
DECODES_TOKENS: int
STREAMS_TOKEN: int

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
    # answered_as: PARKS for all when empty.
    def link(
        self,
        function_numbers: Sequence[int],
        signedness: Sequence[str],
        answered_as: Sequence[int] = (),
    ) -> None: ...

@final
class TokenTable:
    # capacity: tokens; beyond it all are forgotten first.
    def __init__(self, capacity: int) -> None: ...
    def learn(self, token: int, bytes: bytes) -> None: ...
    def find(self, token: int) -> bytes | None: ...

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
    # text_room: bytes of the one text that it may stream without parking.
    def poll(self, text_room: int = 0) -> tuple[int, Any]: ...
    # What was answered on its own stack since the last look: what realm_last_size gives from then
    # on (or -1), and the text that was streamed (or None) with its bytes.
    @property
    def news(self) -> tuple[int, str | None, int] | None: ...
    # realm_decode_tokens of at most count_limit ids on this handle is answered from the table.
    def know_tokens(self, model_id: int, table: TokenTable, count_limit: int) -> None: ...
    def forget_tokens(self, model_id: int) -> None: ...
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
