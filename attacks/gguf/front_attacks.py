"""Attacks on what a file begins with: the magic, the version and the counts."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from attacks.gguf import files as g
from attacks.gguf.attack import HUGE, Attack
from realm.errors import (
    GGUFCountError,
    GGUFMagicError,
    GGUFTruncatedError,
    GGUFVersionError,
)


def _big_endian() -> bytes:
    return g.MAGIC + struct.pack(">IQQ", 3, 0, 0)


FRONT: Sequence[Attack] = (
    Attack("empty file", GGUFTruncatedError, "empty", lambda: b""),
    Attack("half a magic", GGUFTruncatedError, "byte 0", lambda: b"GG"),
    Attack("only a magic", GGUFTruncatedError, "version", lambda: b"GGUF"),
    Attack("counts missing", GGUFTruncatedError, "tensor count", lambda: b"GGUF\3\0\0\0"),
    Attack("second count cut", GGUFTruncatedError, "metadata count", lambda: g.file()[:20]),
    Attack("text", GGUFMagicError, "byte 0", lambda: b"Once upon a time\n" * 9),
    Attack("zeros", GGUFMagicError, "byte 0", lambda: bytes(4096)),
    Attack("byte order mark", GGUFMagicError, "byte order", lambda: b"\xef\xbb\xbf" + g.file()),
    Attack("UTF-16 text", GGUFMagicError, "UTF-16", lambda: "GGUF".encode("utf-16")),
    Attack("web page", GGUFMagicError, "web page", lambda: b"<!DOCTYPE html><html></html>"),
    Attack(
        "Git LFS pointer",
        GGUFMagicError,
        "LFS",
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    ),
    Attack("PyTorch checkpoint", GGUFMagicError, "ZIP", lambda: b"PK\3\4" + bytes(64)),
    Attack("safetensors", GGUFMagicError, "safetensors", lambda: g.u64(2) + b'{"a":{}}'),
    Attack("old GGML", GGUFMagicError, "before GGUF", lambda: b"tjgg" + bytes(64)),
    Attack("lower-case magic", GGUFMagicError, "byte 0", lambda: g.file(magic=b"gguf")),
    Attack("swapped magic", GGUFMagicError, "swapped", lambda: g.file(magic=b"FUGG")),
    Attack("version 0", GGUFVersionError, "version 0", lambda: g.file(version=0)),
    Attack("version 1", GGUFVersionError, "version 1", lambda: g.file(version=1)),
    Attack("version 4", GGUFVersionError, "version 4", lambda: g.file(version=4)),
    Attack("version -1", GGUFVersionError, "4294967295", lambda: g.file(version=2**32 - 1)),
    Attack("big-endian", GGUFVersionError, "big-endian", _big_endian),
    Attack("huge key count", GGUFCountError, "metadata count", lambda: g.file(key_count=HUGE)),
    Attack("huge tensor count", GGUFCountError, "tensor count", lambda: g.file(tensor_count=HUGE)),
    Attack("key count 2^63", GGUFCountError, "byte 16", lambda: g.file(key_count=2**63)),
    Attack("keys missing", GGUFTruncatedError, "metadata count", lambda: g.file(key_count=60000)),
    Attack("tensors missing", GGUFTruncatedError, "tensor count", lambda: g.file(tensor_count=999)),
)
