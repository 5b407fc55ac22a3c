"""Credit: how much of one request may be on its way, whatever its client does."""

from __future__ import annotations

from realm.server.engine_process.running_request import RunningRequest
from realm.server.engine_process.wire_values import TokenTexts
from realm.server.wire.messages import PIECE_CREDIT
from realm.session import Piece


class FakePending:
    def __init__(self):
        self.pieces = []
        self.has_ended = False
        self.is_over = False

    def take(self, most):
        taken, self.pieces = self.pieces[:most], self.pieces[most:]
        self.is_over = self.has_ended and not self.pieces
        return taken


def running() -> tuple[RunningRequest, FakePending]:
    request, pending = RunningRequest(3), FakePending()
    request.pending = pending
    request.token_texts = TokenTexts(None)
    return request, pending


def test_no_more_is_taken_than_there_is_credit():
    request, pending = running()
    for number in range(PIECE_CREDIT):
        pending.pieces.append(Piece(str(number), (number,)))
        assert request.take().text == str(number)
    assert not request.grant(0), "nothing waits for credit yet"
    pending.pieces += [Piece("a", (1,)), Piece("b", (2, 3))]
    assert request.take() is None
    assert len(pending.pieces) == 2
    assert request.grant(1)
    together = request.take()
    assert (together.number, together.text, together.token_ids) == (3, "ab", [1, 2, 3])
    assert request.take() is None
    assert not request.grant(-5) or request.take() is None, "credit is never taken away"


def test_the_end_needs_no_credit():
    request, pending = running()
    for _ in range(PIECE_CREDIT):
        pending.pieces.append(Piece("x", (1,)))
        request.take()
    pending.has_ended = True
    assert request.take() is None
    assert pending.is_over


def test_what_a_cancelled_request_still_says_is_dropped():
    request, pending = running()
    pending.pieces += [Piece("x", (1,))] * 2000
    pending.has_ended = True
    request.is_cancelled = True
    assert request.take() is None
    assert pending.is_over
