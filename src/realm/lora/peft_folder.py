"""A PEFT folder: `adapter_config.json` and `adapter_model.safetensors`.

Only these two files are opened, and only as files of that folder: no link is followed, no path in
the configuration is used. Pickles are refused, whatever they hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from realm.errors import (
    AdapterFormatError,
    AdapterKindError,
    AdapterMismatchError,
    AdapterOpenError,
)
from realm.gguf.turns import in_turns
from realm.lora.adapter_file import AdapterFile
from realm.lora.base import EMBEDDING_NAME, HEAD_NAME, AdapterBase
from realm.lora.document import at_tensor, shown
from realm.lora.files import ReadableFile
from realm.lora.layout import lay_out
from realm.lora.layout_cache import LayoutCache
from realm.lora.names import (
    DECODER_PATHS,
    EMBEDDING_PATHS,
    PEFT_PREFIX,
    gguf_name,
    is_product,
    layer_of,
    module_paths,
)
from realm.lora.pair import Pair, check_pairs
from realm.lora.peft_config import PeftConfig, parse_config
from realm.lora.safetensors import SafetensorsHeader, StoredTensor, read_header, read_rows
from realm.lora.stored import STORED_TYPES, StoredNumbers

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
_PICKLES = ("adapter_model.bin", "adapter_model.pt", "adapter_model.pth")
_CONFIG_BYTES = 1 << 20
_COPY_ROWS = 64
_COPY_ERROR = 0.3

_FACTORS = {
    ".lora_A.weight": "a",
    ".lora_B.weight": "b",
    ".lora_embedding_A": "a",
    ".lora_embedding_B": "b",
}
_COPY = ".base_layer.weight"
_OTHER_KINDS = (
    (".lora_magnitude_vector", "DoRA is not offered"),
    (".lora_A.bias", "biases are not offered"),
    (".lora_B.bias", "biases are not offered"),
    (".lora_diag", "KaSA is not offered"),
)


@contextmanager
def open_peft_folder(
    folder: Path, base: AdapterBase, layouts: LayoutCache
) -> Iterator[AdapterFile]:
    """The adapter in this folder. Raises an AdapterError that names the file and the tensor."""
    configuration = _read_config(folder)
    try:
        file = ReadableFile(folder, WEIGHTS_FILE)
    except FileNotFoundError:
        raise _missing_weights(folder) from None
    with file:

        def front(count: int) -> bytes:
            return file.read(0, min(count, file.size_bytes)).tobytes()

        layout = layouts.find(base, file.size_bytes, front, configuration)
        if layout is not None:
            yield AdapterFile(layout, file.descriptor, file.path)
            return
        config = parse_config(configuration, str(folder / CONFIG_FILE))
        header = read_header(file)
        pairs = _pair_up(header, config, base, str(file.path))
        copies = [each for name, each in header.tensors.items() if name.endswith(_COPY)]
        for tensor in copies:
            _check_copy(file, header, tensor, base)
        layout = lay_out(pairs, base, partial(_stored, header), interleave=True)
        if not copies:  # their numbers have to be compared each time
            layouts.keep(base, file.size_bytes, front(header.data_offset), layout, configuration)
        yield AdapterFile(layout, file.descriptor, file.path)


def _stored(header: SafetensorsHeader, name: str) -> StoredNumbers:
    tensor = header.tensors[name]
    position = header.data_offset + tensor.begin
    return StoredNumbers(position, STORED_TYPES.index(tensor.dtype), False)


def _read_config(folder: Path) -> bytes:
    try:
        with ReadableFile(folder, CONFIG_FILE) as file:
            if file.size_bytes > _CONFIG_BYTES:
                text = f"{file.size_bytes} bytes are too many for a configuration"
                raise AdapterFormatError(f"{file.path}: {text}")
            return file.read(0, file.size_bytes).tobytes()
    except FileNotFoundError:
        raise AdapterOpenError(f"{folder}: there is no {CONFIG_FILE}") from None


def _missing_weights(folder: Path) -> AdapterOpenError | AdapterKindError:
    for name in _PICKLES:
        if (folder / name).exists():
            text = f"a pickle can run code and is never read; save it as {WEIGHTS_FILE}"
            return AdapterKindError(f"{folder / name}: {text}")
    return AdapterOpenError(f"{folder}: there is no {WEIGHTS_FILE}")


def _pair_up(
    header: SafetensorsHeader, config: PeftConfig, base: AdapterBase, place: str
) -> list[Pair]:
    """The factors by twos, each of a module that the configuration names, and none left out."""
    modules: dict[str, dict[str, StoredTensor]] = {}
    for tensor in in_turns(header.tensors.values()):
        path, side = _parse_name(tensor.name, place)
        if side is not None:
            modules.setdefault(path, {})[side] = tensor
    products: dict[str, str] = {}
    pairs = []
    for path, sides in in_turns(modules.items()):
        one = next(iter(sides.values()))
        if len(sides) < 2:
            missing = "A" if "b" in sides else "B"
            raise AdapterFormatError(
                f"{at_tensor(place, one.name)}: its {missing} is not in the file"
            )
        name = gguf_name(path)
        if name is None or not is_product(name, base):
            raise AdapterMismatchError(
                f"{at_tensor(place, one.name)}: the base ({base.architecture}, "
                f"{base.layer_count} layers) has no product {shown(path)}"
            )
        if products.setdefault(name, path) != path:
            raise AdapterFormatError(
                f"{at_tensor(place, one.name)}: {shown(products[name])} means the same product"
            )
        if not config.is_target(path):
            raise AdapterFormatError(
                f"{at_tensor(place, one.name)}: the configuration does not name its module"
            )
        rank = config.rank_of(path)
        a, b = sides["a"], sides["b"]
        if a.shape[:1] not in ((), (rank,)):
            text = f"rank {a.shape[0]}, and {rank} in the configuration"
            raise AdapterFormatError(f"{place}: tensor {shown(a.name)}: {text}")
        pairs.append(Pair(name, a.name, b.name, a.shape, b.shape, config.scale_of(path)))
    check_pairs(pairs, base, place)
    _refuse_missing(modules, config, base, place)
    return pairs


def _parse_name(name: str, place: str) -> tuple[str, str | None]:
    """The module's path and which factor it is; None for a copy of the base's own weights."""
    if name.startswith(PEFT_PREFIX):
        split = name.rfind(".lora_")
        ending = name[split:] if split >= 0 else ""
        side = _FACTORS.get(ending)
        if side is not None:
            path = name[len(PEFT_PREFIX) : split]
            is_embedding = path in EMBEDDING_PATHS
            if is_embedding != ("embedding" in ending):
                raise AdapterFormatError(
                    f"{at_tensor(place, name)}: not how factors of this module are called"
                )
            return path, side
        if name.endswith(_COPY):
            return name[len(PEFT_PREFIX) : -len(_COPY)], None
    for ending, why in _OTHER_KINDS:
        if ending in name:
            raise AdapterKindError(f"{at_tensor(place, name)}: {why}")
    if name.endswith((".weight", ".bias")) and ".lora_" not in name:
        why = "whole weights beside the factors are not offered"
        raise AdapterKindError(f"{at_tensor(place, name)}: {why}")
    raise AdapterFormatError(f"{at_tensor(place, name)}: not a tensor that PEFT writes for a LoRA")


def _refuse_missing(
    modules: dict[str, dict[str, StoredTensor]], config: PeftConfig, base: AdapterBase, place: str
) -> None:
    """A module that the configuration names but the file lacks means that a part was lost."""
    decoder = next(
        (p for p in reversed(DECODER_PATHS) if any(path.startswith(p) for path in modules)),
        DECODER_PATHS[0],
    )
    missing = [
        path
        for path in module_paths(base, decoder)
        if path not in modules and config.is_target(path)
    ]
    if not missing:
        return
    last = max((layer_of(path) for path in modules), default=-1)
    if 0 <= last < min(layer_of(path) for path in missing):
        text = f"it was made for {last + 1} layers, and the base has {base.layer_count}"
        raise AdapterMismatchError(f"{place}: {text}")
    text = f"the configuration names {shown(missing[0])}, and its factors are not in the file"
    raise AdapterFormatError(f"{place}: {text}")


def _check_copy(
    file: ReadableFile, header: SafetensorsHeader, tensor: StoredTensor, base: AdapterBase
) -> None:
    """PEFT saves the embedding that it adapts with the adapter. It is never used; but one that is
    not the base's means that the factors were trained on something else."""
    where = at_tensor(str(file.path), tensor.name)
    path = tensor.name[len(PEFT_PREFIX) : -len(_COPY)]
    name = gguf_name(path)
    if name not in (EMBEDDING_NAME, HEAD_NAME):
        raise AdapterKindError(f"{where}: whole weights beside the factors are not offered")
    if tensor.shape != base.shapes[name]:
        raise AdapterMismatchError(f"{where} is {tensor.shape}, the base's {base.shapes[name]}")
    if name == HEAD_NAME or base.embedding_rows is None:
        text = "a copy of the base's weights that cannot be compared here"
        raise AdapterKindError(f"{where}: {text}; save with save_embedding_layers=False")
    rows = np.linspace(0, tensor.shape[0] - 1, _COPY_ROWS).astype(np.int64)
    copied = np.empty((len(rows), tensor.shape[1]), np.float32)
    for index, row in enumerate(rows.tolist()):
        read_rows(file, header, tensor, row, copied[index : index + 1])
    own = base.embedding_rows(rows)
    difference = float(np.linalg.norm(copied - own) / max(float(np.linalg.norm(own)), 1e-30))
    if not difference <= _COPY_ERROR:
        text = f"differs from the base's embedding by {difference:.2f} of its size"
        raise AdapterMismatchError(f"{where}: {text}")
