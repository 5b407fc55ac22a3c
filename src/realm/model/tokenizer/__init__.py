"""Text to token ids and back, from the vocabulary in a GGUF file's metadata."""

from realm.model.tokenizer.base import Tokenizer
from realm.model.tokenizer.load import load_tokenizer
from realm.model.tokenizer.stream import StreamDecoder

__all__ = ["StreamDecoder", "Tokenizer", "load_tokenizer"]
