"""The log's own thread: every line in order, none that anybody waits for."""

import io
import logging
import threading

import pytest

from realm.server.front.log_thread import logs_in_background

LOGGER = logging.getLogger("realm.tests.log_thread")


class Stuck(io.StringIO):
    """Whoever writes waits until it is `released`."""

    def __init__(self):
        super().__init__()
        self.is_reached = threading.Event()
        self.released = threading.Event()
        self.changed = threading.Condition()

    def write(self, text):
        self.is_reached.set()
        self.released.wait(30)
        with self.changed:
            self.changed.notify_all()
            return super().write(text)

    def until(self, text):
        with self.changed:
            assert self.changed.wait_for(lambda: text in self.getvalue(), 30)


@pytest.fixture
def stream(request):
    """What the root's only handler writes to."""
    root = logging.getLogger()
    before = list(root.handlers)
    stream = getattr(request, "param", io.StringIO)()
    root.handlers[:] = [logging.StreamHandler(stream)]
    LOGGER.setLevel(logging.INFO)
    yield stream
    root.handlers[:] = before
    LOGGER.setLevel(logging.NOTSET)


def test_all_lines_are_written_in_order_and_the_handlers_are_back(stream):
    before = list(logging.getLogger().handlers)
    with logs_in_background():
        for number in range(500):
            LOGGER.info("line %d", number)
        try:
            raise ValueError("what went wrong")
        except ValueError:
            LOGGER.exception("it failed")
    assert logging.getLogger().handlers == before
    lines = stream.getvalue().splitlines()
    assert lines[:500] == [f"line {number}" for number in range(500)]
    assert lines[500] == "it failed"
    assert lines[-1] == "ValueError: what went wrong"
    LOGGER.info("afterwards")
    assert stream.getvalue().endswith("afterwards\n")


@pytest.mark.parametrize("stream", [Stuck], indirect=True)
def test_nobody_waits_for_a_stream_that_takes_nothing(stream):
    with logs_in_background(most_waiting=10):
        LOGGER.info("first")
        assert stream.is_reached.wait(30)
        for number in range(25):
            LOGGER.info("line %d", number)
        stream.released.set()
        stream.until("line 9")
        LOGGER.info("last")
    lines = stream.getvalue().splitlines()
    assert lines[1:11] == [f"line {number}" for number in range(10)]
    assert lines[11:] == ["lines were dropped: nobody read those before them in time", "last"]


@pytest.mark.parametrize("stream", [Stuck], indirect=True)
def test_the_end_does_not_wait_for_ever(stream):
    with logs_in_background(last_seconds=0.05):
        LOGGER.info("first")
        assert stream.is_reached.wait(30)
    stream.released.set()
