"""Adapters from disk, whole and checked, or an error that says what is wrong and where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from realm.errors import AdapterFormatError, AdapterKindError, AdapterOpenError
from realm.lora.adapter import Adapter
from realm.lora.adapter_file import AdapterFile
from realm.lora.base import AdapterBase
from realm.lora.gguf_adapter import open_gguf_adapter
from realm.lora.layout_cache import LayoutCache
from realm.lora.peft_folder import WEIGHTS_FILE, open_peft_folder

_PICKLE_BEGINNINGS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def load_adapter(
    path: str | Path, base: AdapterBase, layouts: LayoutCache | None = None
) -> Adapter:
    """The adapter at `path`, fitted to `base`: a PEFT folder, or a GGUF file.

    layouts: what is known of files that begin alike.

    Reads float32, float16 and bfloat16 factors, in GGUF also quantised ones; the result is float32
    and owns its memory. Raises AdapterOpenError, AdapterFormatError, AdapterMismatchError or
    AdapterKindError, naming the file and the tensor or key; then nothing of it stays in memory.
    """
    with open_adapter(path, base, layouts) as file:
        return file.read()


@contextmanager
def open_adapter(
    path: str | Path, base: AdapterBase, layouts: LayoutCache | None = None
) -> Iterator[AdapterFile]:
    """As `load_adapter`, before its numbers are read; raises the same errors."""
    place = Path(path)
    if layouts is None:
        layouts = LayoutCache()
    opening = open_peft_folder if _is_folder(place) else open_gguf_adapter
    with opening(place, base, layouts) as file:
        yield file


def _is_folder(place: Path) -> bool:
    """Raises AdapterError's kinds for what is neither a folder nor a file that may be GGUF."""
    try:
        if place.is_dir():
            return True
        if not place.is_file():
            raise AdapterOpenError(f"{place}: neither a PEFT folder nor a GGUF file")
        with place.open("rb") as file:
            front = file.read(16)
    except (OSError, ValueError) as reason:
        raise AdapterOpenError(f"{place}: cannot be read: {reason}") from None
    if front.startswith(_PICKLE_BEGINNINGS):
        text = "a pickle can run code and is never read; save the adapter as safetensors"
        raise AdapterKindError(f"{place}: {text}")
    if front[8:9] == b"{":
        text = f"a safetensors file; name its folder, with the configuration beside {WEIGHTS_FILE}"
        raise AdapterFormatError(f"{place}: {text}")
    return False
