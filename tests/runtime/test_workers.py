"""Workers: what is done where, whose turn it is, and what becomes of results nobody wants."""

from __future__ import annotations

import threading

import pytest

from realm.errors import ToolError
from realm.runtime.workers import Workers


@pytest.fixture
def workers():
    made = Workers("test", 2, 1)
    yield made
    made.close()


def finish(submit, owner, action, **options):
    """Submits and waits for the end."""
    done = threading.Event()
    work = submit(owner, action, done.set, **options)
    assert done.wait(10)
    return work


def test_work_is_done_on_another_thread_and_taken_once(workers):
    work = finish(workers.submit, "a", threading.get_ident)
    assert work.is_done
    assert work.take() != threading.get_ident()
    with pytest.raises(IndexError):
        work.take()


def test_what_it_raises_is_raised_where_it_is_taken(workers):
    def fail():
        raise ToolError("no")

    with pytest.raises(ToolError, match="no"):
        finish(workers.submit, "a", fail).take()


def test_an_owner_that_never_ends_delays_itself_alone(workers):
    blocked, others = threading.Event(), []
    stuck = workers.submit("a", lambda: blocked.wait(10), lambda: None)
    after = threading.Event()
    behind = workers.submit("a", lambda: others.append("a"), after.set)
    for _ in range(5):
        finish(workers.submit, "b", lambda: others.append("b"))
    assert others == ["b"] * 5
    assert not stuck.is_done and not behind.is_done
    blocked.set()
    assert after.wait(10)
    assert others[-1] == "a"


def test_abandoned_work_is_not_begun_and_its_result_is_discarded(workers):
    begun, gate, discarded, told = threading.Event(), threading.Event(), [], []
    gone = threading.Event()

    def slow():
        begun.set()
        gate.wait(10)
        return "late"

    def discard(result):
        discarded.append(result)
        gone.set()

    running = workers.submit("a", slow, lambda: told.append("slow"), discard)
    waiting = workers.submit("a", lambda: told.append("never"), lambda: told.append("never"))
    assert begun.wait(10)
    running.abandon()
    waiting.abandon()
    gate.set()
    assert gone.wait(10)
    finish(workers.submit, "a", lambda: None)
    assert (discarded, told) == (["late"], [])
    kept = finish(workers.submit, "a", lambda: "kept", discard=discarded.append)
    kept.abandon()
    assert discarded == ["late", "kept"]


def test_closed_workers_do_nothing_more():
    workers = Workers("test", 1, 1)
    finish(workers.submit, "a", lambda: None)
    workers.close()
    work = workers.submit("a", lambda: 1, lambda: None)
    assert not work.is_done


def raise_it(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_work_does_not_end_its_thread(workers, error, caplog):
    for _ in range(3):
        work = finish(workers.submit, "a", lambda: raise_it(error))
        with pytest.raises(RuntimeError, match=type(error).__name__):
            work.take()
    assert finish(workers.submit, "a", lambda: "alive").take() == "alive"
    assert "tried to end its thread" in caplog.text


@pytest.mark.parametrize("error", [ValueError("told"), SystemExit(1)])
def test_what_follows_on_work_does_not_end_its_thread(workers, error, caplog):
    for _ in range(3):
        workers.submit("a", lambda: None, lambda: raise_it(error))
        begun, gate = threading.Event(), threading.Event()

        def slow(begun=begun, gate=gate):
            begun.set()
            return gate.wait(10)

        late = workers.submit("a", slow, lambda: None, lambda _: raise_it(error))
        assert begun.wait(10)
        late.abandon()
        gate.set()
    assert finish(workers.submit, "a", lambda: "alive").take() == "alive"
    assert caplog.text.count("what follows on a work failed") == 6


def test_waiting_for_an_owner(workers):
    begun, gate, ended = threading.Event(), threading.Event(), threading.Event()

    def slow():
        begun.set()
        gate.wait(10)

    workers.submit("a", slow, lambda: None)
    behind = workers.submit("a", lambda: "done", lambda: None)
    assert begun.wait(10)
    workers.wait_for("b")

    def wait():
        workers.wait_for("a")
        ended.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert not ended.is_set()
    gate.set()
    waiter.join(10)
    assert ended.is_set() and behind.is_done
    workers.close()
    workers.wait_for("a")
