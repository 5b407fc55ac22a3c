"""GGUF files, read without trusting them: metadata, tensors, and views of their bytes.

`open_gguf` checks everything a header says before anything is built on it. Nothing here writes a
file, interprets an architecture or dequantises a tensor.
"""

from realm.gguf.file import GGUFFile, open_gguf
from realm.gguf.strings import StringArray
from realm.gguf.tensors import TensorInfo
from realm.gguf.values import MetadataValue

__all__ = ["GGUFFile", "MetadataValue", "StringArray", "TensorInfo", "open_gguf"]
