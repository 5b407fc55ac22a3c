"""Choose the tokenizer that a file's vocabulary needs. Never reads a file itself."""

from __future__ import annotations

from collections.abc import Mapping

from realm.errors import TokenizerError
from realm.model.tokenizer.base import Tokenizer


def load_tokenizer(metadata: Mapping[str, object]) -> Tokenizer:
    """The tokenizer of a GGUF file's metadata (`tokenizer.ggml.*`).

    Raises TokenizerError that names the key if the kind or the vocabulary cannot be used.
    """
    model = metadata.get("tokenizer.ggml.model")
    # Each kind's library costs tens of milliseconds and megabytes: only the one needed is loaded.
    if model == "gpt2":
        from realm.model.tokenizer.byte_level import ByteLevelTokenizer  # noqa: PLC0415

        return ByteLevelTokenizer(metadata)
    if model == "llama":
        from realm.model.tokenizer.sentence_piece import SentencePieceTokenizer  # noqa: PLC0415

        return SentencePieceTokenizer(metadata)
    if model is None:
        raise TokenizerError("tokenizer.ggml.model is missing")
    raise TokenizerError(f"tokenizer.ggml.model is {model!r}; 'gpt2' and 'llama' are known")
