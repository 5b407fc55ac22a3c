"""Attacks on the safetensors format: the header's length, its JSON, and where tensors lie."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from attacks.adapters import files as f
from attacks.adapters.attack import Attack
from attacks.adapters.tensor_attacks import QUERY_A, QUERY_B
from realm.errors import AdapterError, AdapterFormatError


def _weights(
    name: str,
    place: str,
    build: Callable[[], bytes],
    error: type[AdapterError] = AdapterFormatError,
) -> Attack:
    def make(folder: Path) -> Path:
        return f.write_folder(folder, f.config(), build())

    return Attack(name, error, place, make)


def _header(text: bytes) -> bytes:
    return f.safetensors({}, header=text)


def _one(**fields: object) -> bytes:
    """A header of one tensor with some fields replaced; None takes one away."""
    entry: dict[str, object] = {"dtype": "F32", "shape": [4, 32], "data_offsets": [0, 512]}
    merged = {key: value for key, value in (entry | fields).items() if value is not None}
    return _header(json.dumps({QUERY_A: merged}).encode())


def _twice() -> bytes:
    entry = b'"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'
    return _header(b"{" + entry + b", " + entry + b"}")


def _first_size() -> int:
    return len(f.tensors()[QUERY_A][2])


SAFETENSORS: Sequence[Attack] = (
    _weights("empty safetensors", "0 bytes", lambda: b""),
    _weights("half a length", "4 bytes", lambda: bytes(4)),
    _weights("header length 2^64 - 1", "cannot be true", lambda: b"\xff" * 8 + bytes(64)),
    _weights(
        "header longer than the file",
        "the header takes",
        lambda: f.safetensors(f.tensors(), header_bytes=1 << 20)[:2_000],
    ),
    _weights("header of 17 MB", "cannot be true", lambda: f.safetensors({}, header_bytes=17 << 20)),
    _weights(
        "header length too short", "not JSON", lambda: f.safetensors(f.tensors(), header_bytes=40)
    ),
    _weights("header length 0", "does not begin", lambda: f.safetensors({}, header=b"")),
    _weights("header is a list", "does not begin", lambda: _header(b"[]")),
    _weights("header begins with a space", "does not begin", lambda: _header(b" {}")),
    _weights("header is not UTF-8", "not UTF-8", lambda: _header(b'{"\xff": 1}')),
    _weights("header nests for ever", "too deep", lambda: _header(b'{"a":' * 60_000)),
    _weights(
        "header of 600,000 lists",
        "tensor 'a'",
        lambda: _header(b'{"a":[' + b"[]," * 600_000 + b"0]}"),
    ),
    _weights("a tensor twice", "'x' is there twice", _twice),
    _weights("metadata is a number", "__metadata__", lambda: f.safetensors({}, metadata=3)),
    _weights(
        "metadata of numbers", "__metadata__", lambda: f.safetensors({}, metadata={"format": 1})
    ),
    _weights("entry is a number", QUERY_A, lambda: _header(json.dumps({QUERY_A: 1}).encode())),
    _weights("entry without a type", QUERY_A, lambda: _one(dtype=None)),
    _weights("entry with more fields", QUERY_A, lambda: _one(strides=[1, 2])),
    _weights("unknown type", "'F31'", lambda: _one(dtype="F31")),
    _weights("type is a list", "unknown type", lambda: _one(dtype=["F32"])),
    _weights("shape is negative", "[-4, 32]", lambda: _one(shape=[-4, 32])),
    _weights("shape is text", "shape", lambda: _one(shape="4,32")),
    _weights("shape is true", "shape", lambda: _one(shape=[True, 32])),
    _weights("shape of 2^63", "cannot be", lambda: _one(shape=[2**63, 1])),
    _weights("shape that overflows", "takes", lambda: _one(shape=[2**62, 4])),
    _weights("shape of fractions", "shape", lambda: _one(shape=[4.0, 32.0])),
    _weights("shape of 1,000 dimensions", "shape", lambda: _one(shape=[1] * 1_000)),
    _weights("offsets swapped", "data_offsets", lambda: _one(data_offsets=[512, 0])),
    _weights("offsets negative", "data_offsets", lambda: _one(data_offsets=[-512, 0])),
    _weights("one offset", "data_offsets", lambda: _one(data_offsets=[0])),
    _weights("offsets of 2^64", "data_offsets", lambda: _one(data_offsets=[0, 2**64])),
    _weights("offsets and shape differ", "takes 512", lambda: _one(data_offsets=[0, 511])),
    _weights("no data", "the file's at 0", _one),
    _weights(
        "overlapping tensors",
        "overlaps",
        lambda: f.safetensors(f.tensors(), offsets={QUERY_B: [0, _first_size()]}),
    ),
    _weights(
        "a tensor far outside",
        "no one's",
        lambda: f.safetensors(
            {QUERY_A: f.matrix(4, 32)}, offsets={QUERY_A: [1 << 40, (1 << 40) + 512]}
        ),
    ),
    _weights(
        "a hole before the first",
        "4 bytes before it",
        lambda: f.safetensors(
            {QUERY_A: f.matrix(4, 32)}, offsets={QUERY_A: [4, 516]}, tail=bytes(4)
        ),
    ),
    _weights("bytes at the end", "last 64", lambda: f.safetensors(f.tensors(), tail=bytes(64))),
    _weights("cut by one byte", "ends at", lambda: f.safetensors(f.tensors())[:-1]),
    _weights("cut by half", "ends at", lambda: f.safetensors(f.tensors())[:-2_000]),
)
