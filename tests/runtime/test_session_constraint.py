"""A request's constraint in a program's sessions: the first one, its forks, and going back."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import numpy as np
import pytest

from realm.engine import StepOutput, TokenLogprobs
from realm.errors import ConstraintError
from realm.runtime import host_sessions
from realm.runtime.handles import ModelHandle
from realm.runtime.host_call import HostCallError, WaitForStep

from .fakes import VOCABULARY, make_bench


class Alphabet:
    """Allows the next letter of a word, again from its beginning; counts what it accepts."""

    def __init__(self, word: bytes, accepted: int = 0) -> None:
        self.word = word
        self.accepted = accepted

    def allowed(self):
        mask = np.zeros(-(-VOCABULARY // 32), np.uint32)
        token = self.word[self.accepted]
        mask[token // 32] |= np.uint32(1 << token % 32)
        return mask

    def admits(self, ids):
        return bytes(ids) == self.word[self.accepted : self.accepted + len(ids)]

    def accept(self, token):
        if token != self.word[self.accepted]:
            raise ConstraintError("another letter")
        self.accepted += 1

    def rewind(self, accepted):
        self.accepted = accepted

    def copy(self):
        return Alphabet(self.word, self.accepted)


@pytest.fixture
def bench():
    bench = make_bench(b"abcdefgh")
    bench.asked = []
    always = SimpleNamespace(is_ready=lambda _: True, take=lambda _: Alphabet(b"abcdefgh"))
    object.__setattr__(bench.state.surroundings, "constraint", always)
    sample = bench.engine.sample

    def remember(sequence, sampling, allowed=None, masks_after=None, *, more=0):
        bench.asked.append(allowed)
        sample(sequence, sampling, allowed, masks_after, more=more)

    bench.engine.sample = remember
    bench.state.models.add(ModelHandle(bench.state.surroundings.models["fake"]))
    return bench


def sample(bench, session: int, **output) -> int:
    waits = host_sessions.session_sample(bench.state, session, 0, 64, 1)
    assert isinstance(waits, WaitForStep)
    (found,) = bench.engine.step()
    waits.complete(StepOutput(found.sequence, found.token_ids, **output))
    return struct.unpack("<I", bench.guest.read(64, 4))[0]


def prefill(bench, session: int, ids: bytes) -> int:
    bench.guest.write(0, np.frombuffer(ids, np.uint8).astype("<u4").tobytes())
    return host_sessions.session_prefill(bench.state, session, 0, len(ids))


def accept(bench, session: int, ids: bytes) -> int:
    bench.guest.write(0, np.frombuffer(ids, np.uint8).astype("<u4").tobytes())
    return host_sessions.session_accept(bench.state, session, 0, len(ids))


def letter_of(mask) -> str:
    return chr(int(np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little"))[0]))


def test_the_first_session_is_constrained_and_others_are_not(bench) -> None:
    first = host_sessions.session_open(bench.state, 1)
    second = host_sessions.session_open(bench.state, 1)
    for session in (first, second):
        prefill(bench, session, b"xyz")
        sample(bench, session)
    assert letter_of(bench.asked[0]) == "a"
    assert bench.asked[1] is None


def test_accepted_tokens_move_it_on_and_others_are_refused(bench) -> None:
    session = host_sessions.session_open(bench.state, 1)
    prefill(bench, session, b"x")
    assert accept(bench, session, b"ab") == 2
    with pytest.raises(HostCallError, match="forbids"):
        accept(bench, session, b"zz")
    assert host_sessions.session_position(bench.state, session) == 3
    bench.engine.script = list(b"c")
    sample(bench, session)
    assert letter_of(bench.asked[0]) == "c"


def test_forks_and_rewinds_keep_their_place(bench) -> None:
    session = host_sessions.session_open(bench.state, 1)
    prefill(bench, session, b"xx")
    sample(bench, session)
    sample(bench, session)
    fork = host_sessions.session_fork(bench.state, session)
    host_sessions.session_rewind(bench.state, session, 3)
    bench.engine.script = list(b"bc")
    sample(bench, session)
    assert letter_of(bench.asked[-1]) == "b"
    sample(bench, fork)
    assert letter_of(bench.asked[-1]) == "c"


def test_logprobs_stay_beside_their_tokens(bench) -> None:
    session = host_sessions.session_open(bench.state, 1)
    prefill(bench, session, b"x")
    sample(bench, session, logprobs=(TokenLogprobs(97, -1.0),))
    accept(bench, session, b"b")
    bench.engine.script = list(b"c")
    sample(bench, session, logprobs=(TokenLogprobs(99, -2.0),))
    handle = bench.state.first_session
    assert handle.token_ids == list(b"abc")
    assert [None if each is None else each.token_id for each in handle.logprobs] == [97, None, 99]
    host_sessions.session_rewind(bench.state, session, 3)
    assert len(handle.logprobs) == len(handle.token_ids) == 2
