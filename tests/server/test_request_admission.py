"""Quotas and the server's places, on a clock that the test sets."""

import random
from pathlib import Path

import msgspec
import pytest

from realm.errors import EngineUnavailableError, RateLimitError
from realm.server.definitions import Limits, Tenant
from realm.server.front.admission import Admission
from realm.server.settings import Settings


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def _settings(**changes):
    return Settings(data_directory=Path("/nowhere"), database_url="sqlite://", **changes)


def _admission(**changes):
    clock = Clock()
    return Admission(_settings(**changes), clock), clock


def _tenant(name="acme", **limits):
    return Tenant(name, limits=Limits(**limits))


def test_requests_per_minute():
    admission, clock = _admission()
    tenant = _tenant(requests_per_minute=3)
    for _ in range(3):
        admission.admit(tenant).close(5)
    with pytest.raises(RateLimitError, match="all requests of this minute") as refused:
        admission.admit(tenant)
    assert refused.value.retry_after_seconds == pytest.approx(20.0)
    clock.now += 19.9
    with pytest.raises(RateLimitError):
        admission.admit(tenant)
    clock.now += 0.1
    admission.admit(tenant).close(0)


def test_a_refused_request_uses_nothing_of_the_quota():
    admission, _ = _admission()
    tenant = _tenant(requests_per_minute=2, concurrent_requests=1)
    ticket = admission.admit(tenant)
    for _ in range(5):
        with pytest.raises(RateLimitError, match="1 requests are running, and 1 may"):
            admission.admit(tenant)
    ticket.close(0)
    admission.admit(tenant).close(0)
    with pytest.raises(RateLimitError, match="minute"):
        admission.admit(tenant)


def test_tokens_are_debited_when_they_are_known_and_then_paid_back():
    admission, clock = _admission()
    tenant = _tenant(tokens_per_minute=600)
    admission.admit(tenant).close(1500)
    with pytest.raises(RateLimitError, match="all tokens") as refused:
        admission.admit(tenant)
    wait = refused.value.retry_after_seconds
    assert wait == pytest.approx(90.1)
    clock.now += wait
    admission.admit(tenant).close(0)


def test_tokens_of_a_closed_ticket_are_debited_once():
    admission, _ = _admission()
    tenant = _tenant(tokens_per_minute=100)
    ticket = admission.admit(tenant)
    for _ in range(10):
        ticket.close(60)
    assert admission.running == 0
    admission.admit(tenant).close(0)


def test_the_servers_own_limits_hold_where_a_tenant_has_none():
    admission, _ = _admission(limits=Limits(requests_per_minute=1))
    admission.admit(_tenant()).close(0)
    with pytest.raises(RateLimitError):
        admission.admit(_tenant())
    own = _tenant("own", requests_per_minute=2)
    for _ in range(2):
        admission.admit(own).close(0)


def test_limits_that_change_hold_for_the_next_request():
    admission, _ = _admission()
    admission.admit(_tenant(requests_per_minute=1)).close(0)
    with pytest.raises(RateLimitError):
        admission.admit(_tenant(requests_per_minute=1))
    admission.admit(_tenant(requests_per_minute=2)).close(0)
    with pytest.raises(RateLimitError):
        admission.admit(_tenant(requests_per_minute=2))
    admission.admit(_tenant()).close(0)
    with pytest.raises(RateLimitError):
        tickets = [admission.admit(_tenant(concurrent_requests=2)) for _ in range(3)]
        assert len(tickets) == 3


def test_one_tenants_quota_is_not_anothers():
    admission, _ = _admission()
    admission.admit(_tenant("a", requests_per_minute=1)).close(0)
    admission.admit(_tenant("b", requests_per_minute=1)).close(0)


def test_a_tenant_alone_gets_all_but_the_reserve_which_is_for_newcomers():
    admission, _ = _admission(max_requests=16)
    tickets = [admission.admit(_tenant("flood")) for _ in range(14)]
    with pytest.raises(RateLimitError, match="14 requests are this tenant's share"):
        admission.admit(_tenant("flood"))
    tickets += [admission.admit(_tenant("b")), admission.admit(_tenant("c"))]
    with pytest.raises(EngineUnavailableError) as refused:
        admission.admit(_tenant("d"))
    assert refused.value.retry_after_seconds > 0
    for ticket in tickets:
        ticket.close(0)
    assert admission.running == 0


def test_one_place_is_one_place():
    admission, _ = _admission(max_requests=1)
    ticket = admission.admit(_tenant("a"))
    for name in ("a", "b"):
        with pytest.raises(EngineUnavailableError):  # whoever asks
            admission.admit(_tenant(name))
    ticket.close(0)
    admission.admit(_tenant("b")).close(0)


def test_who_was_refused_is_let_in_before_the_one_who_holds_everything():
    admission, clock = _admission(max_requests=8)
    floods = [admission.admit(_tenant("flood")) for _ in range(7)]
    other = admission.admit(_tenant("b"))
    with pytest.raises(EngineUnavailableError, match="busy"):
        admission.admit(_tenant("c"))
    floods.pop().close(0)
    with pytest.raises(RateLimitError, match="this tenant's share"):
        admission.admit(_tenant("flood"))
    admission.admit(_tenant("c")).close(0)
    other.close(0)
    clock.now += 60.0
    assert admission.admit(_tenant("flood")) is not None  # nobody wants in any more


@pytest.mark.parametrize("others", [3, 15, 40])
def test_a_flood_of_ten_times_its_share_keeps_nobody_out(others):
    """Generations of one to three seconds on a clock of 10 ms; the others want their share at
    every moment, the flood ten times that."""
    admission, clock = _admission(max_requests=64)
    names = ["flood", *(f"t{number}" for number in range(others))]
    share = (64 - 8) // len(names)
    random_seconds = random.Random(7)
    running = {name: [] for name in names}
    held, steps = dict.fromkeys(names, 0), 3000
    for step in range(steps):
        clock.now += 0.01
        for name in names:
            ended = [each for each in running[name] if each[0] <= clock.now]
            for each in ended:
                each[1].close(10)
                running[name].remove(each)
        for name in names:
            wanted = share * 10 if name == "flood" else share
            while len(running[name]) < wanted:
                try:
                    ticket = admission.admit(Tenant(name))
                except (RateLimitError, EngineUnavailableError):
                    break
                running[name].append((clock.now + random_seconds.uniform(1.0, 3.0), ticket))
            if step > 500:
                held[name] += len(running[name])
        assert admission.running <= 64
    means = {name: total / (steps - 501) for name, total in held.items()}
    assert min(means[name] for name in names[1:]) >= 0.9 * share
    assert means["flood"] >= 0.9 * share


def test_ten_thousand_tenants_leave_nothing_behind():
    admission, clock = _admission(max_requests=1024)
    tickets = []
    for number in range(10_000):
        tenant = _tenant(f"t{number}", requests_per_minute=60, tokens_per_minute=600)
        tickets.append(admission.admit(tenant))
        if len(tickets) == 500:
            for ticket in tickets:
                ticket.close(900)
            tickets.clear()
    assert 5_000 < admission.known_tenants <= 10_000
    clock.now += 200.0
    admission.admit(_tenant("last")).close(0)
    assert admission.known_tenants <= 1


def test_tenants_without_limits_are_forgotten_when_they_end():
    admission, clock = _admission()
    for number in range(1000):
        admission.admit(_tenant(f"t{number}")).close(10)
    clock.now += 6.0
    admission.admit(_tenant("last")).close(0)
    assert admission.known_tenants == 1


def test_running_of():
    admission, _ = _admission()
    ticket = admission.admit(_tenant("a"))
    assert (admission.running_of("a"), admission.running_of("b")) == (1, 0)
    ticket.close(0)
    assert admission.running_of("a") == 0


def test_limits_are_what_the_protocol_says():
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"requests_per_minute": 0}, Limits)
