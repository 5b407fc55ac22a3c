"""Patterns out of configurations: the same answers as `re`, in bounded time, or a refusal."""

import random
import re
import warnings
from dataclasses import replace

import pytest

from realm.errors import AdapterFormatError, AdapterKindError
from realm.lora.pattern import MatchBudget, compile_pattern, is_plain

PATHS = [
    *(f"model.layers.{n}.self_attn.{p}_proj" for n in (0, 1, 12) for p in "qkvo"),
    *(f"model.layers.{n}.mlp.{p}_proj" for n in (0, 3, 10) for p in ("gate", "up", "down")),
    "model.embed_tokens",
    "lm_head",
    "",
]
PATTERNS = [
    "q_proj",
    ".*(q|v)_proj",
    r".*\.(q|k|v|o)_proj",
    r"model\.layers\.(0|1)\..*",
    r"model.layers.\d+.mlp.(?:gate|up)_proj",
    "^model.layers.0.self_attn.q_proj",
    "[a-z_.]*",
    "[^0-9]*",
    r"[\w.]+",
    "layers.1{1,2}.*",
    "layers.1{2}.*",
    "(model.)?(layers|embed)_?tokens?",
    r"(?:.*?)\.[13]\.mlp\..*",
    "(a|ab)(c|bcd)*",
    "[]q]_proj",
    "(|lm_head)",
    "model$",
    "lm_head$",
    "a{,2}lm_head",
    "x{3,}",
    "{",
    "a{x}",
]


def budget() -> MatchBudget:
    return MatchBudget("config")


@pytest.mark.parametrize("source", PATTERNS)
def test_answers_are_those_of_re(source: str) -> None:
    pattern = compile_pattern(source, "config", budget())
    own = replace(pattern, _expression=None)  # what is used where `re` might be slow
    for path in PATHS:
        expected = bool(re.fullmatch(source, path))
        assert (pattern.matches_all(path), own.matches_all(path)) == (expected, expected), path
        expected = bool(re.match(rf"(.*\.)?({source})$", path))
        assert (pattern.matches_tail(path), own.matches_tail(path)) == (expected, expected), path


def test_random_patterns() -> None:
    chance = random.Random(3)
    compared = 0
    for _ in range(3_000):
        source = "".join(chance.choice("ab.()|*+?[]^$-{}12,\\") for _ in range(chance.randrange(9)))
        try:
            pattern = replace(compile_pattern(source, "config", budget()), _expression=None)
        except (AdapterFormatError, AdapterKindError):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            expected = re.compile(source)  # what is accepted here is an expression there
        for text in ("", "a", "ab", "aab", "b.a", "ba", "a1", "-", "aaab2"):
            assert pattern.matches_all(text) == bool(expected.fullmatch(text)), (source, text)
        compared += 1
    assert compared > 500


@pytest.mark.parametrize("source", ["(a+)+$", "(a|a)*b", "(a*)*b", "((a?){25}){25}", "(.*)*(.*)*b"])
def test_what_keeps_re_busy_for_ever_ends(source: str) -> None:
    assert not compile_pattern(source, "config", budget()).matches_all("a" * 60 + "!")


def test_the_budget_is_shared_and_ends() -> None:
    shared = MatchBudget("config", steps=1_000)
    first = compile_pattern("(a|b)*c?", "config", shared)
    assert first.matches_all("abab")
    with pytest.raises(AdapterFormatError, match="config: its patterns take too long"):
        for length in range(60):
            first.matches_all("ab" * length)


@pytest.mark.parametrize(
    ("source", "error", "text"),
    [
        ("(", AdapterFormatError, "without its"),
        ("a)", AdapterFormatError, "without its"),
        ("[a", AdapterFormatError, "without its"),
        ("*", AdapterFormatError, "nothing to repeat"),
        ("a{2,1}", AdapterFormatError, "more at least"),
        ("[z-a]", AdapterFormatError, "empty"),
        ("(" * 30 + "a" + ")" * 30, AdapterFormatError, "deeper"),
        ("a" * 3_000, AdapterFormatError, "too long"),
        ("(?=a)", AdapterKindError, "'(?'"),
        ("(?i)a", AdapterKindError, "'(?'"),
        (r"(a)\1", AdapterKindError, r"'\\1'"),
        (r"\bq", AdapterKindError, r"'\\b'"),
        ("a**", AdapterKindError, "repeat of a repeat"),
        ("a\\", AdapterKindError, "not offered"),
    ],
)
def test_refusals(source: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as raised:
        compile_pattern(source, "config", budget())
    assert text in str(raised.value) or text.replace("\\\\", "\\") in str(raised.value)
    assert str(raised.value).startswith("config: ")


def test_plain() -> None:
    assert is_plain("model.layers.0.self_attn.q_proj")
    assert not is_plain(".*_proj")


@pytest.mark.parametrize("source", ["a?a?a?a?a?a?b", "(a|b)*", "(.*)?(.*)?", "x(y{2})+", "(a?b)?"])
def test_what_may_be_slow_is_not_left_to_re(source: str) -> None:
    assert compile_pattern(source, "config", budget())._expression is None


@pytest.mark.parametrize("source", [r".*\.(q|v)_proj", r"layers\.\d+\.mlp\..*", "[ab]{2}_proj"])
def test_what_is_quick_costs_nothing_of_the_budget(source: str) -> None:
    pattern = compile_pattern(source, "config", MatchBudget("config", steps=0))
    assert not pattern.matches_tail("model.layers.0")
