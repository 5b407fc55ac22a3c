"""A stored model's tensors as numbers, read from its file anew. Never touches packed weights."""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import NDArray

from realm.errors import GGUFOpenError, ModelError
from realm.gguf import GGUFFile, open_gguf
from realm.kernels.dequantize import dequantize
from realm.model.stored import StoredModel


class TensorReader:
    """Opens the file at the first tensor, once, and makes sure that it is still the same one.

    Any number of threads may use it.
    """

    def __init__(self, model: StoredModel) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._file: GGUFFile | None = None

    def read(self, name: str, element_limit: int) -> tuple[int, NDArray[np.float32] | None]:
        """How many elements a tensor has, and these, float32 [elements] in the file's order.

        No elements when they are more than the limit, -1 when there is no such tensor. Raises
        ModelError when the file is not what was loaded, NotSupportedError.
        """
        with self._lock:
            file = self._file = self._file or self._open()
        info = file.tensors.get(name)
        if info is None:
            return -1, None
        count = math.prod(info.shape)
        if count > element_limit:
            return count, None
        values = dequantize(file.tensor_data(name), info.block_type, info.shape)
        file.release(name)
        return count, np.ascontiguousarray(values, np.float32).reshape(-1)

    def _open(self) -> GGUFFile:
        try:
            file = open_gguf(self._model.path)
        except GGUFOpenError as error:
            raise ModelError(f"the file of this model cannot be read: {error}") from None
        if file.content_hash() != self._model.content_hash:
            file.close()
            raise ModelError("the file of this model has changed since it was loaded")
        return file
