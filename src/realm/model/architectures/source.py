"""The metadata of one architecture, read with checks of range.

Keys stand under the architecture's own prefix (`llama.block_count`); see the GGUF specification.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from realm.errors import ArchitectureError
from realm.gguf import GGUFFile, StringArray

_LARGEST_SIZE = 1 << 24


class MetadataSource:
    """Typed, ranged access to one file's hyperparameters."""

    __slots__ = ("architecture", "file")

    def __init__(self, file: GGUFFile, architecture: str) -> None:
        self.file = file
        self.architecture = architecture

    def refuse(self, reason: str) -> ArchitectureError:
        """An error that names the file; for the caller to raise."""
        return ArchitectureError(f"{self.file.path}: {reason}")

    def size(self, key: str, default: int | None = None) -> int:
        """A whole number in 1..2**24 under the architecture's prefix."""
        name = f"{self.architecture}.{key}"
        if default is not None and name not in self.file.metadata:
            return default
        value = self.file.require(name, int)
        if not 0 < value <= _LARGEST_SIZE:
            raise self.refuse(f"{name} is {value}, outside of 1..{_LARGEST_SIZE}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number > 0 under the architecture's prefix."""
        name = f"{self.architecture}.{key}"
        if default is not None and name not in self.file.metadata:
            return default
        value = self.file.require(name, float)
        if not (math.isfinite(value) and value > 0.0):
            raise self.refuse(f"{name} is {value}, not a number > 0")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """A truth value under the architecture's prefix."""
        return self.file.get(f"{self.architecture}.{key}", bool, default)

    def window(self, default: int = 0) -> int:
        """`attention.sliding_window`: how many tokens a token sees; 0 is all before it."""
        name = f"{self.architecture}.attention.sliding_window"
        value = self.file.get(name, int, default)
        if not 0 <= value <= _LARGEST_SIZE:
            raise self.refuse(f"{name} is {value}, outside of 0..{_LARGEST_SIZE}")
        return value

    def layers(self, key: str, most: int) -> tuple[int, ...]:
        """Different whole numbers >= 0, at most so many, under the architecture's prefix; none
        without the key."""
        name = f"{self.architecture}.{key}"
        values = self.file.get(name, np.ndarray, np.empty(0, np.int32))
        if values.dtype.kind not in "iu" or len(values) > most:
            raise self.refuse(f"{name} are not at most {most} whole numbers")
        layers = tuple(values.tolist())
        if len(set(layers)) < len(layers) or not all(0 <= each < _LARGEST_SIZE for each in layers):
            raise self.refuse(f"{name} are not numbers of different layers: {layers}")
        return layers

    def text(self, key: str, default: str) -> str:
        """A string under the architecture's prefix."""
        return self.file.get(f"{self.architecture}.{key}", str, default)

    def vocabulary_size(self) -> int:
        """Rows of the token embedding, which must agree with the vocabulary."""
        info = self.file.tensors.get("token_embd.weight")
        if info is None or len(info.shape) != 2:
            raise self.refuse("there is no two-dimensional tensor token_embd.weight")
        count = len(self.file.require("tokenizer.ggml.tokens", StringArray))
        if count > info.shape[0]:
            raise self.refuse(
                f"the vocabulary has {count} tokens, token_embd.weight {info.shape[0]} rows"
            )
        return info.shape[0]

    def frequencies(self, dimensions: int, base: float) -> NDArray[np.float64]:
        """base ** (-2i / dimensions) for i in 0..dimensions/2 (Su et al., 2021, section 3.2.2)."""
        if dimensions % 2 or dimensions <= 0:
            raise self.refuse(f"{dimensions} rotated dimensions do not form pairs")
        if base <= 1.0:
            raise self.refuse(f"a rope base of {base} is not greater than 1")
        return base ** (-np.arange(0, dimensions, 2, dtype=np.float64) / dimensions)

    def check_heads(self, hidden: int, heads: int, kv_heads: int, head_size: int) -> None:
        """Heads share key/value heads evenly, and sizes fit the native core's vectors."""
        if heads % kv_heads:
            raise self.refuse(f"{heads} heads do not divide by {kv_heads} key/value heads")
        if head_size % 16:
            raise self.refuse(f"head size {head_size} is not a multiple of 16")
        if hidden % 32 or heads * head_size % 32:
            raise self.refuse(
                f"hidden size {hidden} or {heads} heads of {head_size} is not a multiple of 32"
            )
