"""Who is told that output has come, and on which thread."""

from __future__ import annotations

import threading

from realm.runtime.delivery import Delivery
from realm.runtime.herald import Herald
from realm.session import Piece


def test_one_client_is_told_at_once():
    herald, threads = Herald(), []
    herald.tell(lambda: threads.append(threading.current_thread()))
    assert not threads
    herald.send()
    herald.send()
    assert threads == [threading.current_thread()]
    herald.close()


def test_several_are_told_by_another_thread():
    herald, told, all_told = Herald(), [], threading.Event()

    def wake(number):
        told.append((number, threading.current_thread()))
        if number == 5:
            all_told.set()

    for number in range(6):
        herald.tell(lambda number=number: wake(number))
        if number == 2:
            herald.send()
    herald.send()
    assert all_told.wait(30)
    assert [number for number, _ in told] == list(range(6))
    assert threading.current_thread() not in {thread for _, thread in told}
    herald.close()
    assert not any(thread.is_alive() for _, thread in told)


def test_closing_tells_the_rest():
    for several in (False, True):
        herald, told = Herald(), []
        if several:
            herald.tell(lambda: None)
            herald.tell(lambda: None)
            herald.send()
        herald.tell(lambda told=told: told.append(1))
        herald.close()
        assert told == [1]


def test_a_client_is_told_once_for_what_it_has_not_taken():
    wakes = []
    delivery = Delivery(3, lambda: None, wakes.append)
    assert delivery.has_room()
    assert all(delivery.offer(Piece(text)) for text in "abc")
    assert not delivery.has_room()
    assert not delivery.offer(Piece("d"))
    assert len(wakes) == 1
    assert [delivery.take().text for _ in range(3)] == ["a", "b", "c"]
    assert delivery.offer(Piece("d"))
    assert len(wakes) == 2


def test_nobody_is_told_when_only_the_result_is_wanted():
    wakes = []
    delivery = Delivery(None, lambda: None, wakes.append)
    assert delivery.has_room()
    assert delivery.offer(Piece("a"))
    assert not wakes
