"""WASM modules of any size, written byte by byte: assembling megabytes of text takes too long."""

from __future__ import annotations


def leb128(number: int) -> bytes:
    """Unsigned, as WASM writes numbers."""
    written = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        written.append(low | (0x80 if number else 0))
        if not number:
            return bytes(written)


def section(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + leb128(len(content)) + content


def many_functions(count: int, additions: int = 60) -> bytes:
    """A valid module of `count` functions that each fold their argument `additions` times."""
    # local.get 0, i32.const 7, i32.mul, i32.const 3, i32.add, local.set 0
    step = bytes([0x20, 0, 0x41, 7, 0x6C, 0x41, 3, 0x6A, 0x21, 0])
    body = b"\0" + step * additions + bytes([0x20, 0, 0x0B])
    return _module([body] * count)


def nested_loops(depth: int) -> bytes:
    """A valid module of one function: loops in loops, and a jump from the innermost to each."""
    jumps = b"".join(bytes([0x20, 0, 0x0D]) + leb128(target) for target in range(depth))
    loops = b"\x03\x40" * depth + jumps + b"\x0b" * depth
    return _module([b"\0" + loops + bytes([0x20, 0, 0x0B])])


def _module(bodies: list[bytes]) -> bytes:
    types = section(1, leb128(1) + bytes([0x60, 1, 0x7F, 1, 0x7F]))
    functions = section(3, leb128(len(bodies)) + b"\0" * len(bodies))
    code = b"".join(leb128(len(body)) + body for body in bodies)
    return b"\0asm\1\0\0\0" + types + functions + section(10, leb128(len(bodies)) + code)
