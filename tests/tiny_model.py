"""Small random models as GGUF files, for tests that need every shape but no language."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tests.oracle.block_encoders import encode

import gguf

VOCABULARY = 320
HIDDEN = 96
LAYERS = 3
HEADS = 6
KV_HEADS = 2
HEAD_SIZE = 32
FEED_FORWARD = 160


@dataclass(frozen=True)
class TinyModel:
    """What to write: an architecture, and the block type of each kind of matrix.

    looks_back: False makes the next token depend on the last one alone; the same fields then make
    a realm-draft that is always right.
    """

    architecture: str = "llama"
    block_type: str = "Q4_1"
    head_block_type: str = "Q8_0"
    window: int = 40
    head_size: int = HEAD_SIZE
    hidden: int = HIDDEN
    heads: int = HEADS
    feed_forward: int = FEED_FORWARD
    looks_back: bool = True
    feature_layers: tuple[int, ...] = ()  # of a realm-draft
    layers: int = LAYERS

    def write(self, path: Path) -> Path:
        """Write the file; the same weights for the same fields."""
        writer = gguf.GGUFWriter(str(path), self.architecture)
        self._write_metadata(writer)
        for name, shape in self._shapes().items():
            self._write_tensor(writer, name, shape)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    def _write_metadata(self, writer: gguf.GGUFWriter) -> None:
        writer.add_block_count(self.layers)
        writer.add_context_length(1024)
        writer.add_embedding_length(self.hidden)
        writer.add_feed_forward_length(self.feed_forward)
        writer.add_head_count(self.heads)
        writer.add_head_count_kv(KV_HEADS)
        writer.add_key_length(self.head_size)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_rope_freq_base(10000.0)
        if self.architecture == "gemma3":
            writer.add_sliding_window(self.window)
        if self.feature_layers:
            writer.add_array(f"{self.architecture}.feature_layers", self.feature_layers)
        add_byte_vocabulary(writer, VOCABULARY)

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        hidden, ffn = self.hidden, self.feed_forward
        queries, cached = self.heads * self.head_size, KV_HEADS * self.head_size
        shapes: dict[str, tuple[int, ...]] = {
            "token_embd.weight": (VOCABULARY, hidden),
            "output_norm.weight": (hidden,),
        }
        if self.architecture == "realm-draft":
            shapes["feature.weight"] = (hidden, hidden)
            for index in range(len(self.feature_layers)):
                shapes[f"feature.{index}.weight"] = (hidden, hidden)
        for index in range(self.layers):
            layer = f"blk.{index}."
            shapes |= {
                layer + "attn_norm.weight": (hidden,),
                layer + "attn_q.weight": (queries, hidden),
                layer + "attn_k.weight": (cached, hidden),
                layer + "attn_v.weight": (cached, hidden),
                layer + "attn_output.weight": (hidden, queries),
                layer + "ffn_norm.weight": (hidden,),
                layer + "ffn_gate.weight": (ffn, hidden),
                layer + "ffn_up.weight": (ffn, hidden),
                layer + "ffn_down.weight": (hidden, ffn),
            }
            if self.architecture == "gemma3":
                shapes |= {
                    layer + "post_attention_norm.weight": (hidden,),
                    layer + "post_ffw_norm.weight": (hidden,),
                    layer + "attn_q_norm.weight": (self.head_size,),
                    layer + "attn_k_norm.weight": (self.head_size,),
                }
        return shapes

    def _write_tensor(self, writer: gguf.GGUFWriter, name: str, shape: tuple[int, ...]) -> None:
        rng = np.random.default_rng(abs(hash_of(name)))
        if len(shape) == 1:
            writer.add_tensor(name, rng.uniform(0.5, 1.5, shape).astype(np.float32))
            return
        values = (rng.standard_normal(shape) * shape[1] ** -0.5).astype(np.float32)
        if not self.looks_back and ("attn_output" in name or name.startswith("feature.")):
            values[:] = 0.0
        wanted = self.head_block_type if name == "token_embd.weight" else self.block_type
        kind = gguf.GGMLQuantizationType[wanted]
        if wanted == "F32":
            writer.add_tensor(name, values)
        elif wanted == "F16":
            writer.add_tensor(name, values.astype(np.float16))
        else:
            writer.add_tensor(name, encode(values, wanted), raw_dtype=kind)


def add_byte_vocabulary(writer: gguf.GGUFWriter, size: int) -> None:
    """Every byte, one merge, and tokens without meaning up to `size`; the last one ends a text."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    alphabet = _byte_alphabet()
    alphabet.append("th")
    extra = [f"<|extra_{index}|>" for index in range(size - len(alphabet))]
    writer.add_token_list([*alphabet, *extra])
    writer.add_token_types([1] * len(alphabet) + [3] * len(extra))
    writer.add_token_merges(["t h"])
    writer.add_eos_token_id(size - 1)


def hash_of(name: str) -> int:
    """A number that is the same in every process."""
    return int.from_bytes(name.encode()[-8:], "little")


def _byte_alphabet() -> list[str]:
    # GPT-2's printable stand-ins for the 256 bytes (Radford et al., 2019).
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    codes = {byte: byte for byte in plain}
    codes |= {byte: 256 + index for index, byte in enumerate(others)}
    return [chr(codes[byte]) for byte in range(256)]
