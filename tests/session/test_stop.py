"""Stop texts in a stream."""

from hypothesis import given
from hypothesis import strategies as st

from realm.session.stop import StopMatcher

SMALL_TEXT = st.text(alphabet="ab", max_size=30)


@given(SMALL_TEXT, st.lists(st.text(alphabet="ab", min_size=1, max_size=4), max_size=3), st.data())
def test_any_split_gives_what_stands_before_the_first_stop(
    text: str, stop: list[str], data: st.DataObject
) -> None:
    matcher = StopMatcher(tuple(stop))
    out = ""
    rest = text
    while rest:
        length = data.draw(st.integers(1, len(rest)))
        out += matcher.push(rest[:length])
        rest = rest[length:]
        if matcher.matched:
            break
    if not matcher.matched:
        out += matcher.finish()
    ends = [at for at in (text.find(each) for each in stop) if at >= 0]
    assert matcher.matched == bool(ends)
    if ends:
        # A longer stop text that begins earlier may end later than a shorter one: both are right.
        assert not any(each in out for each in stop)
        assert text.startswith(out)
    else:
        assert out == text


def test_nothing_that_may_become_a_stop_goes_out() -> None:
    matcher = StopMatcher(("###",))
    assert matcher.push("a#") == "a"
    assert matcher.push("#b##") == "##b"
    assert matcher.push("#c") == ""
    assert matcher.matched
    assert matcher.push("more") == ""
