"""Numbers that are stored in different types are read alike, and have digests of their own."""

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from attacks.adapters import files as f
from tests.dealt import dealt_blake3

from realm.errors import AdapterFormatError
from realm.lora import Adapter, load_adapter

RANK = 32  # a block of Q8_0
F32, F16, Q8_0 = 0, 1, 8
Content = dict[str, tuple[tuple[int, ...], bytes]]


def q8_0_content() -> tuple[Content, Content]:
    """Factors as blocks of Q8_0 (a half for 32 signed bytes), and the same in float32. The numbers
    have eight significant bits."""
    blocks, floats = {}, {}
    names = {
        name: shape for name, (shape, _) in f.gguf_content(rank=RANK).items() if "attn" in name
    }
    for number, (name, shape) in enumerate(names.items()):
        quants = np.random.default_rng(number).integers(-127, 128, shape).astype(np.int8)
        stored = quants.reshape(-1, 32)
        blocks[name] = (shape, b"".join(struct.pack("<e", 0.25) + row.tobytes() for row in stored))
        floats[name] = (shape, (quants * np.float32(0.25)).tobytes())
    return blocks, floats


def halved(content: Content) -> Content:
    return {
        name: (shape, np.frombuffer(data, np.float32).astype(np.float16).tobytes())
        for name, (shape, data) in content.items()
    }


def load(path: Path, content: Content, block_type: int) -> Adapter:
    path.write_bytes(f.gguf_adapter(content, block_type=block_type))
    return load_adapter(path, f.base())


def test_every_type_gives_the_same_numbers(tmp_path: Path) -> None:
    """Blocks are computed to float32, and have the digest of these numbers."""
    blocks, floats = q8_0_content()
    expected = load(tmp_path / "f32.gguf", floats, F32)
    from_blocks = load(tmp_path / "q8.gguf", blocks, Q8_0)
    from_halves = load(tmp_path / "f16.gguf", halved(floats), F16)
    for adapter in (from_blocks, from_halves):
        for target, factor in adapter.factors.items():
            assert factor.a.tobytes() == expected.factors[target].a.tobytes()
            assert factor.b.tobytes() == expected.factors[target].b.tobytes()
    assert from_blocks.digest == expected.digest != from_halves.digest


def test_a_block_that_is_no_number(tmp_path: Path) -> None:
    blocks, _ = q8_0_content()
    name = "blk.1.attn_q.weight.lora_b"
    shape, data = blocks[name]
    blocks[name] = (shape, data[:34] + struct.pack("<e", np.inf) + data[36:])
    with pytest.raises(AdapterFormatError, match=r"blk\.1\.attn_q\.weight\.lora_b.*holds"):
        load(tmp_path / "a.gguf", blocks, Q8_0)


@pytest.mark.parametrize("block_type", [F32, F16])
def test_what_the_digest_is_made_of(tmp_path: Path, block_type: int) -> None:
    """Kept, as folders of the registry are called by it."""
    content = f.gguf_content() if block_type == F32 else halved(f.gguf_content())
    adapter = load(tmp_path / "a.gguf", content, block_type)
    whole = hashlib.sha256(b"realm adapter 2")
    dtype = np.float32 if block_type == F32 else np.float16
    digests = b""
    for target, factor in adapter.factors.items():
        (rank, inputs), outputs = factor.a.shape, factor.b.shape[0]
        types = (block_type, block_type)
        whole.update(struct.pack("<QQQBBd", rank, inputs, outputs, *types, factor.scale))
        product = {0: "attn_q", 6: "ffn_down"}[int(target.projection)]
        whole.update(f"blk.{target.layer}.{product}.weight".encode() + b"\0")
        stored = factor.a.astype(dtype).tobytes() + factor.b.astype(dtype).tobytes()
        digests += dealt_blake3(stored)  # attention's half of a layer, then the other's
    whole.update(digests)
    assert adapter.digest == whole.digest()
