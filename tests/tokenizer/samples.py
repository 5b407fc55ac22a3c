# ruff: noqa: RUF001
"""Texts that tokenizers stumble over, and tiny vocabularies made by hand."""

from __future__ import annotations

import numpy as np

SAMPLES = {
    "empty": "",
    "english": "Hello, world! It's 2024; they've paid $1,234.56 for 3 things. Don't you'RE WE'LL",
    "arabic": "مرحبا بالعالم، كيف حالك؟ ١٢٣٤٥",
    "chinese": "你好，世界。今天天气很好！二〇二四年",
    "japanese": "こんにちは世界、カタカナとひらがな。",
    "korean": "안녕하세요 세계 123 가나다",
    "hindi": "नमस्ते दुनिया, आप कैसे हैं? १२३",
    "thai": "สวัสดีชาวโลก ภาษาไทยไม่มีช่องว่าง",
    "german": "Größe, Straße, Übermäßigkeit und Donaudampfschifffahrtsgesellschaft",
    "vietnamese": "Tiếng Việt có nhiều dấu thanh: ạ ả ấ ầ ẩ ẫ ậ",
    "greek": "Καλημέρα κόσμε ὄ ὦ",
    "russian": "Привет, мир! Ёлка съела щуку",
    "hebrew": "שָׁלוֹם עוֹלָם",
    "code": "def f(x: int):\n\treturn x**2  # squared\n\n\nif __name__ == '__main__':\n    f(10)\n",
    "json": '{"a": [1, 2.5e-3, null], "b": {"c": "\\u00e9"}}',
    "html": "<html><td class='x'>1 &lt; 2</td></html></s><s>",
    "emoji": "👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 ❤️ 🇩🇪 😀😀😀",
    "spaces": "a  b   c    d          e" + " " * 100 + "f ",
    "leading spaces": "   x",
    "only spaces": " " * 37,
    "newlines": "\n\n\na\r\nb\r\r\n \n \t\n\t\t c\n",
    "only newlines": "\n" * 40,
    "odd spaces": "a\u00a0b\u2003c\u3000d\u200be\u2028f\u2029g\ufeffh",
    "digits": "1 12 123 1234 12345678901234567890 ½ ² ³ Ⅷ ٣ 3.14",
    "combining": "e\u0301 o\u0308\u0323 Z̷̧͎a̵̳l̶̠g̷̹o̸͓",
    "mathematics": "∑∫√∞≠ 𝓐𝕭𝒞 x²+y²=z² ﬁ ﬀ",
    "surrounding": "'s 't 're x's X'S ſ'ſ \u2581x\u2581",
    "control names": "<|im_start|>user<|im_end|><end_of_turn><bos><0x41><|endoftext|>[INST]<unk>",
    "rare planes": "𐍈𐎀𓀀 𝔸 \U0001f9ff \U000e0041 \U0010fffd",
}

BYTES = range(0x100)
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


def byte_alphabet() -> list[str]:
    """The character of each byte, as transformers' bytes_to_unicode gives it."""
    kept = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(0xAE, 0x100)]
    others = [byte for byte in BYTES if byte not in kept]
    return [chr(byte) if byte in kept else chr(0x100 + others.index(byte)) for byte in BYTES]


def byte_level_metadata(**changes: object) -> dict[str, object]:
    """256 bytes, a few merges, two control tokens, one user-defined token; keys can be replaced."""
    merged = ["he", "ll", "hell", "hello", "Ġhello", "Ġw"]
    special = ["<|im_start|>", "<|im_end|>", "<tool>"]
    tokens = [*byte_alphabet(), *merged, *special]
    kinds = [NORMAL] * (256 + len(merged)) + [CONTROL, CONTROL, USER_DEFINED]
    metadata: dict[str, object] = {
        "model": "gpt2",
        "pre": "gpt-2",
        "tokens": tokens,
        "token_type": np.array(kinds, np.int32),
        "merges": ["h e", "l l", "he ll", "hell o", "Ġ hello", "Ġ w"],
        "bos_token_id": tokens.index("<|im_start|>"),
        "eos_token_id": tokens.index("<|im_end|>"),
        **changes,
    }
    return _prefixed(metadata)


def sentence_piece_metadata(**changes: object) -> dict[str, object]:
    """Control tokens, 256 bytes, a few pieces by score; keys can be replaced."""
    head = ["<unk>", "<s>", "</s>", "<turn>"]
    pieces = ["▁", "a", "b", "c", "ab", "▁a", "▁ab", "abc", "é", "▁▁"]
    tokens = [*head, *(f"<0x{byte:02X}>" for byte in BYTES), *pieces, "  \n"]
    kinds = [UNKNOWN, CONTROL, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * len(pieces)
    scores = [0.0] * 260 + [-9.0, -8.0, -8.0, -8.0, -1.0, -2.0, -1.5, -3.0, -7.0, -4.0, 0.0]
    metadata: dict[str, object] = {
        "model": "llama",
        "tokens": tokens,
        "token_type": np.array([*kinds, USER_DEFINED], np.int32),
        "scores": np.array(scores, np.float32),
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
        **changes,
    }
    return _prefixed(metadata)


def _prefixed(metadata: dict[str, object]) -> dict[str, object]:
    return {f"tokenizer.ggml.{k}": v for k, v in metadata.items() if v is not None}
