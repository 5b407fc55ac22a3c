"""Whose request begins next."""

from __future__ import annotations

import pytest

from realm.runtime.account import TenantAccount
from realm.runtime.job import Job
from realm.runtime.limits import TenantLimits
from realm.runtime.request_queue import RequestQueue


@pytest.fixture
def accounts():
    return {name: TenantAccount(name, TenantLimits(requests=2)) for name in "abc"}


def job(account, priority=0):
    return Job(None, None, None, account, priority)


def take_all(queue):
    taken = []
    while queue.has_ready:
        taken.append(queue.take())
        taken[-1].account.live_guests += 1
    return taken


def test_tenants_take_turns(accounts):
    queue = RequestQueue()
    jobs = [job(accounts[name]) for name in "aaabbc"]
    for each in jobs:
        queue.add(each)
    assert accounts["a"].queued_requests == 3
    assert [each.account.tenant_id for each in take_all(queue)] == list("abcab")
    assert list(queue) == [jobs[2]]
    assert accounts["a"].queued_requests == 1


def test_a_tenant_at_its_limit_waits_until_a_guest_ends(accounts):
    queue = RequestQueue()
    for _ in range(4):
        queue.add(job(accounts["a"]))
    assert len(take_all(queue)) == 2
    queue.has_room(accounts["a"])
    assert not queue.has_ready, "two are still alive"
    accounts["a"].live_guests = 1
    queue.has_room(accounts["a"])
    assert len(take_all(queue)) == 1
    accounts["a"].live_guests = 0
    queue.has_room(accounts["a"])
    assert len(take_all(queue)) == 1
    assert not list(queue)


def test_higher_priorities_come_first(accounts):
    queue = RequestQueue()
    queue.add(job(accounts["a"], 0))
    queue.add(job(accounts["b"], 5))
    queue.add(job(accounts["c"], -1))
    assert [each.account.tenant_id for each in take_all(queue)] == list("bac")


def test_a_request_that_was_removed_never_begins(accounts):
    queue = RequestQueue()
    first, second = job(accounts["a"]), job(accounts["b"])
    queue.add(first)
    queue.add(second)
    assert queue.remove(first)
    assert not queue.remove(first)
    assert accounts["a"].queued_requests == 0
    assert take_all(queue) == [second]
    with pytest.raises(ValueError, match="empty"):
        queue.take()
