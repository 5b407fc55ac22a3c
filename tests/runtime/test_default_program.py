"""The default program, on a scripted engine: what it reads, where it stops, what it streams."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realm.errors import ChatTemplateError, ContextLengthError, TokenizerError

from .fakes import CONTEXT, END

BOTH = pytest.mark.parametrize("direct", [False, True], ids=["guest", "direct"])


@BOTH
def test_a_prompt_is_continued_until_the_model_ends(speak, direct):
    tenant = speak(b"Paris.")
    result = tenant.generate("Where?", direct=direct)
    assert result.text == "Paris."
    assert result.token_ids == tuple(b"Paris.")
    assert result.prompt_token_ids == (256, *b"Where?")
    assert result.finish_reason == "stop"
    assert not tenant.stage.engine.sequences


@BOTH
def test_messages_go_through_the_template(speak, direct):
    messages = [{"role": "user", "content": 'a "quoted" \n\\ é \U0001f600 \x01'}]
    result = speak(b"ok").generate(messages=messages, direct=direct)
    text = 'user: a "quoted" \n\\ é \U0001f600 \x01'
    assert result.prompt_token_ids == (256, *text.encode())
    assert result.text == "ok"


@BOTH
def test_token_ids_are_taken_as_they_are(speak, direct):
    result = speak(b"ok").generate(token_ids=[5, 298, 0], direct=direct)
    assert result.prompt_token_ids == (5, 298, 0)


@BOTH
def test_special_tokens_in_a_plain_prompt_stay_text(speak, direct):
    result = speak(b"").generate("<bos>", direct=direct)
    assert result.prompt_token_ids == (256, *b"<bos>")


@BOTH
def test_the_number_of_tokens_is_kept(speak, direct):
    result = speak(b"abcdef").generate("x", max_tokens=3, direct=direct)
    assert (result.text, result.finish_reason) == ("abc", "length")
    assert result.token_ids == tuple(b"abc")


@BOTH
def test_ends_can_be_ignored(speak, direct):
    script = [*b"a", END, *b"b"]
    result = speak(script).generate("x", max_tokens=4, ignore_eos=True, direct=direct)
    assert (result.text, result.finish_reason) == ("ab", "length")
    assert result.token_ids == (97, END, 98, END)


@BOTH
def test_more_tokens_may_end_it(speak, direct):
    result = speak(b"abc").generate("x", stop_token_ids=[98], direct=direct)
    assert (result.text, result.finish_reason) == ("a", "stop")


@BOTH
def test_a_full_context_ends_it_for_length(speak, direct):
    prompt = [7] * (CONTEXT - 3)
    result = speak(b"abcdef").generate(token_ids=prompt, max_tokens=50, direct=direct)
    assert (result.text, result.finish_reason) == ("abc", "length")


@BOTH
def test_a_prompt_beyond_the_context_is_the_callers_error(speak, direct):
    tenant = speak(b"abc")
    with pytest.raises(ContextLengthError):
        tenant.generate(token_ids=[7] * (CONTEXT + 1), direct=direct)
    assert not tenant.stage.engine.sequences
    assert tenant.generate("x", direct=direct).text == "abc"


@BOTH
def test_messages_that_the_template_refuses_are_the_callers_error(speak, direct):
    with pytest.raises(ChatTemplateError, match="content"):
        speak(b"").generate(messages=[{"role": "user"}], direct=direct)


@BOTH
@pytest.mark.parametrize(
    ("said", "stop", "text"),
    [
        (b"one two three", "two", "one "),
        (b"one two three", ["three", "two"], "one "),
        (b"aaab", "aab", "a"),
        (b"stop", "stop", ""),
        (b"sto", "stop", "sto"),
        (b"ababac", "abac", "ab"),
        ("für über".encode(), "über", "für "),
        (b"xyz", ["zz", "yz", "xyz"], ""),
        (b"aba", ["b", "aba"], "a"),
    ],
)
def test_stop_texts_never_appear(speak, direct, said, stop, text):
    tenant = speak(said)
    pieces = list(tenant.stream("x", stop=stop, direct=direct))
    assert "".join(piece.text for piece in pieces) == text


def test_pieces_carry_their_tokens_and_whole_characters(speak):
    said = "aé\U0001f600b".encode()
    pieces = list(speak(said).stream("x"))
    assert [piece.text for piece in pieces] == ["a", "é", "\U0001f600", "b"]
    assert [piece.token_ids for piece in pieces] == [
        (97,),
        tuple("é".encode()),
        tuple("\U0001f600".encode()),
        (98,),
    ]


def test_text_that_is_no_text_is_the_callers_error(speak):
    with pytest.raises(TokenizerError):
        speak(b"").generate("\ud800", direct=True)


def cut(said: bytes, stops: list[str]) -> str:
    """What should be streamed of these bytes, each a token: the stop that is whole first ends it,
    of several the one that begins first."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = ""
    for index in range(len(said) + 1):
        text += decoder.decode(said[index : index + 1], final=index == len(said))
        places = [text.find(stop) for stop in stops if stop in text]
        if places:
            return text[: min(places)]
    return text


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    said=st.one_of(
        st.binary(max_size=40),
        st.text(alphabet="abé\u20ac\U0001f600", max_size=20).map(str.encode),
        st.lists(st.sampled_from([b"\xe2\x82", b"\xf0\x9f", b"\xed\xa0", b"a", b"\xc3"])).map(
            b"".join
        ),
    ),
    stops=st.lists(st.text(alphabet="abé\u20ac\ufffd", min_size=1, max_size=3), max_size=3),
)
def test_any_bytes_and_any_stops(speak, said, stops):
    tenant = speak(said)
    assert tenant.generate("x", stop=stops, max_tokens=100).text == cut(said, stops)
