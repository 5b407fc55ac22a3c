# ruff: noqa: RUF001
"""How a byte-level vocabulary cuts text into words, by the name in `tokenizer.ggml.pre`.

Each name stands for the regular expressions published with that model family, in the order in
which they cut. Never guesses: a name that is not in the table has no entry, and a wrong cut
changes what a model reads without any visible error.

Sources: the `pre_tokenizer` of each family's tokenizer.json, and the list of names that the GGUF
converter of llama.cpp writes. Syntax is Oniguruma's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_CONTRACTION: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL: Final = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3: Final = (
    _CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + _TAIL
)
_QWEN2: Final = _CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*" + _TAIL
_QWEN35: Final = (
    _CONTRACTION + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + _TAIL
)
_UPPER: Final = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER: Final = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def _cased(contraction: str, digits: str) -> str:
    """Words that break where lower case turns to upper case, as in o200k and Tekken."""
    lead = r"[^\r\n\p{L}\p{N}]?"
    return (
        rf"{lead}{_UPPER}*{_LOWER}+{contraction}|{lead}{_UPPER}+{_LOWER}*{contraction}"
        rf"|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*" + _TAIL
    )


_DEEPSEEK_V3: Final = (
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*" + _TAIL,
)
_CJK: Final = "[一-龥ࠀ-一가-퟿]+"
# The lookbehind finds a run of spaces once, not once for each of its spaces.
_TRAILING_SPACE: Final = r"(?<!\s)\s+\z"
# The letters with case that DeepSeek's first tokenizer knows, as hexadecimal code points.
_CASED_LETTERS: Final = """
    41-5A 61-7A B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376 377 37B-37D 37F
    386 388-38A 38C 38E-3A1 3A3-3F5 3F7-481 48A-52F 531-556 10A0-10C5 13A0-13F5 13F8-13FD
    1C90-1CBA 1CBD-1CBF 1D00-1D2B 1D6B-1D77 1D79-1D9A 1E00-1F15 1F18-1F1D 1F20-1F45
    1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4
    1FC6-1FCC 1FD0-1FD3 1FD6-1FDB 1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102 2107 210A-2113 2115
    2119-211D 2124 2126 2128 212A-212D 212F-2134 2139 213C-213F 2145-2149 214E 2183 2184
    2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2 2CF3 A640-A66D A680-A69B A722-A76F A771-A787
    A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 FF21-FF3A FF41-FF5A 10400-1044F 104B0-104D3
    104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943
"""


def _code_points(ranges: str) -> str:
    """The inside of a character class, from code points and ranges of them."""
    return "".join(
        "-".join(rf"\x{{{each}}}" for each in part.split("-")) for part in ranges.split()
    )


_DEEPSEEK_LLM: Final = (
    r"[\r\n]",
    rf"\s?[{_code_points(_CASED_LETTERS)}]+",
    r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
    _TRAILING_SPACE,
    _CJK,
    r"\p{N}+",
)
_DEEPSEEK_CODER: Final = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK, r"\p{N}")
_NUMBERS: Final = (r"\p{N}+", r"[0-9][0-9][0-9]")
_PUNCTUATION: Final = r"[\p{P}\$\+<=>\^~\|`]+"
_DIGITS_FIRST: Final = (r"\p{N}", _GPT2)
_BLOOM: Final = r" ?[^(\s|.,!?…。，、।۔،)]+"


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """How one family cuts text.

    patterns: regular expressions; each cuts out its matches from what the former ones left whole.
    byte_patterns: the same, once each byte is spelled as a character (half of U+00BD is a digit).
    whole_words: a word that is in the vocabulary is one token, whatever the merges say.
    adds_bos: the family begins a text with its bos token when the file does not say.
    """

    patterns: tuple[str, ...]
    byte_patterns: tuple[str, ...] = ()
    whole_words: bool = False
    adds_bos: bool = False


_GROUPS: Final[tuple[tuple[tuple[str, ...], PreTokenizer], ...]] = (
    (("default",), PreTokenizer((r"[\p{P}\$\+<=>\^~\|]+", _GPT2, *_NUMBERS))),
    (
        (
            *(
                "gpt-2",
                "phi-2",
                "jina-es",
                "jina-de",
                "jina-v2-es",
                "jina-v2-de",
                "gigachat",
                "a.x-4.0",
            ),
            *("mellum", "modern-bert", "mpt", "olmo", "jais", "trillion", "granite-docling"),
        ),
        PreTokenizer((_GPT2,)),
    ),
    (
        (
            *("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"),
            *("mellum2",),
        ),
        PreTokenizer(_DIGITS_FIRST),
    ),
    (
        ("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"),
        PreTokenizer((_LLAMA3,), whole_words=True, adds_bos=True),
    ),
    (("dbrx", "smaug-bpe", "chatglm-bpe"), PreTokenizer((_LLAMA3,))),
    (("glm4", "glm5"), PreTokenizer((_LLAMA3,), whole_words=True)),
    (
        (
            *("qwen2", "deepseek-r1-qwen", "kormo", "stablelm2", "megrez", "hunyuan", "solar-open"),
            *("grok-2",),
        ),
        PreTokenizer((_QWEN2,)),
    ),
    (("qwen35",), PreTokenizer((_QWEN35,))),
    (("deepseek-llm",), PreTokenizer(_DEEPSEEK_LLM)),
    (("deepseek-coder",), PreTokenizer(_DEEPSEEK_CODER)),
    (("deepseek-v3", "hunyuan-dense"), PreTokenizer(_DEEPSEEK_V3)),
    (("falcon",), PreTokenizer((_PUNCTUATION, _GPT2), byte_patterns=_NUMBERS)),
    (("gpt-4o", "llama4", "kanana2"), PreTokenizer((_cased(_CONTRACTION + "?", r"\p{N}{1,3}"),))),
    (("tekken",), PreTokenizer((_cased("", r"\p{N}"),), whole_words=True, adds_bos=True)),
    (("bloom", "poro-chat", "gpt3-finnish"), PreTokenizer((_BLOOM,))),
    (("viking",), PreTokenizer((_BLOOM, r"\p{N}"))),
)


def find_pre_tokenizer(name: str) -> PreTokenizer | None:
    """The way of cutting of this name, or None if it is not known."""
    return next((cut for names, cut in _GROUPS if name in names), None)


def known_pre_tokenizers() -> tuple[str, ...]:
    """Every name that find_pre_tokenizer knows."""
    return tuple(name for names, _ in _GROUPS for name in names)
