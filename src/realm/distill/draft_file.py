"""Writes a draft as a GGUF file of the realm-draft architecture, with the gguf package.

Beside the weights stands what `realm.model.draft_model` reads: which of the target's tokens the
draft knows, and the digest of the target's vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import gguf
from realm.distill.beginning import Weights
from realm.distill.shape import OF_TOKENS, DraftShape
from realm.distill.vocabulary import DraftVocabulary
from realm.errors import ConfigError
from realm.model import StoredModel, vocabulary_digest
from realm.model.architectures.realm_draft import ARCHITECTURE
from realm.model.draft_model import TOKEN_IDS_KEY, VOCABULARY_KEY
from realm.model.tokenizer.vocabulary import PREFIX, TokenKind, read_numbers, read_strings

_OTHER_TEXT = "<|other|>"
Floats = NDArray[np.float32]
_FLAGS = ("add_space_prefix", "add_bos_token", "add_eos_token", "remove_extra_whitespaces")
_IDS = ("bos", "eos", "eot", "eom", "unknown")


def write_draft(
    path: Path,
    target: StoredModel,
    vocabulary: DraftVocabulary,
    shape: DraftShape,
    weights: Weights,
    *,
    block_type: str,
    embedding_block_type: str,
    facts: Mapping[str, str],
) -> None:
    """Write the file; a file that was there is replaced as a whole.

    facts: more metadata, texts under their keys. Raises ConfigError when it cannot be written or
    as `check_blocks` does.
    """
    check_blocks(shape, block_type, embedding_block_type)
    beside = path.with_name(path.name + ".part")
    try:
        writer = gguf.GGUFWriter(str(beside), ARCHITECTURE)
        _write_shape(writer, shape)
        _write_vocabulary(writer, target, vocabulary)
        writer.add_array(TOKEN_IDS_KEY, vocabulary.to_target.tolist())
        writer.add_string(VOCABULARY_KEY, vocabulary_digest(target))
        for key, text in facts.items():
            writer.add_string(key, text)
        for name, values in weights.items():
            kind = embedding_block_type if name in OF_TOKENS else block_type
            _write_tensor(writer, name, values, gguf.GGMLQuantizationType[kind])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        beside.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}") from None
    finally:
        beside.unlink(missing_ok=True)


def check_blocks(shape: DraftShape, block_type: str, embedding_block_type: str) -> None:
    """Raises ConfigError for rows that are no whole number of blocks."""
    for name, size in shape.tensors().items():
        kind = embedding_block_type if name in OF_TOKENS else block_type
        width = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]][0]
        if len(size) > 1 and size[1] % width:
            raise ConfigError(f"{name}: rows of {size[1]} are no {kind} blocks of {width} numbers")


def _write_shape(writer: gguf.GGUFWriter, shape: DraftShape) -> None:
    writer.add_block_count(shape.layer_count)
    writer.add_context_length(shape.context_length)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_feed_forward_length(shape.feed_forward_size)
    writer.add_head_count(shape.head_count)
    writer.add_head_count_kv(shape.kv_head_count)
    writer.add_key_length(shape.head_size)
    writer.add_value_length(shape.head_size)
    writer.add_rope_dimension_count(shape.head_size)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_vocab_size(shape.vocabulary_size)
    if shape.feature_layers:
        writer.add_array(f"{ARCHITECTURE}.feature_layers", shape.feature_layers)


def _write_vocabulary(
    writer: gguf.GGUFWriter, target: StoredModel, vocabulary: DraftVocabulary
) -> None:
    """The target's tokenizer, without the tokens that the draft does not know."""
    metadata = target.metadata
    known = vocabulary.to_target[:-1].tolist()
    all_texts = read_strings(metadata, "tokens")
    texts = [all_texts[each] for each in known]
    writer.add_tokenizer_model(str(metadata[PREFIX + "model"]))
    if isinstance(pre := metadata.get(PREFIX + "pre"), str):
        writer.add_tokenizer_pre(pre)
    writer.add_token_list([*texts, _OTHER_TEXT])
    kinds = read_numbers(metadata, "token_type", len(all_texts), "iu")
    chosen = [int(TokenKind.NORMAL)] * len(known) if kinds is None else kinds[known].tolist()
    writer.add_token_types([*chosen, int(TokenKind.CONTROL)])
    scores = read_numbers(metadata, "scores", len(all_texts), "f")
    if scores is not None:
        writer.add_token_scores([*scores[known].tolist(), 0.0])
    if PREFIX + "merges" in metadata:
        writer.add_token_merges(_known_merges(read_strings(metadata, "merges"), set(texts)))
    for name in _IDS:
        token = metadata.get(f"{PREFIX}{name}_token_id")
        if isinstance(token, int) and vocabulary.from_target[token] < len(known):
            writer.add_uint32(f"{PREFIX}{name}_token_id", int(vocabulary.from_target[token]))
    for name in _FLAGS:
        if isinstance(flag := metadata.get(PREFIX + name), bool):
            writer.add_bool(PREFIX + name, flag)


def _known_merges(merges: object, texts: set[str]) -> list[str]:
    """The merges of known tokens to known ones. One is two tokens with a space between them."""
    kept = []
    for merge in merges:  # type: ignore[attr-defined]
        left, _, right = merge.partition(" ")
        if left in texts and right in texts and left + right in texts:
            kept.append(merge)
    return kept


def _write_tensor(
    writer: gguf.GGUFWriter, name: str, values: Floats, kind: gguf.GGMLQuantizationType
) -> None:
    if values.ndim == 1:
        writer.add_tensor(name, values)
    else:
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
