"""The books: versions, sharing, patience, and thousands of names with room for a few."""

import random
from collections import Counter
from pathlib import Path

import pytest

from realm.errors import AdapterCapacityError, AdapterError, AdapterNotFoundError
from realm.lora.ledger import AdapterLedger
from realm.lora.records import Load, Version
from realm.lora.source import AdapterSource
from realm.lora.use import AdapterUse

BASE = "base"


class Box:
    """A packed adapter that is nothing but its size."""

    def __init__(self, byte_size: int = 10) -> None:
        self.byte_size = byte_size


class Books:
    """A ledger whose loads are done when the test says so."""

    def __init__(self, budget: int = 100, patience: int = 3, slots: int = 4) -> None:
        self.ledger = AdapterLedger(budget, patience, slots)
        self.loads: list[Load] = []
        self.granted: list[AdapterUse] = []
        self.refused: list[tuple[AdapterUse, AdapterError]] = []
        self.now = 0.0

    def add(self, name: str, tenant: str | None = None, size: int = 10) -> Version:
        source = AdapterSource(Path("/adapters") / name, (), size)
        return self.ledger.add(tenant, name, source)

    def use(self, version: Version) -> AdapterUse:
        use = AdapterUse(version.number, lambda _: None)
        self.ledger.begin(use, version, BASE, self.now)
        self.advance()
        return use

    def end(self, use: AdapterUse) -> None:
        self.ledger.end(use)
        self.advance()

    def advance(self) -> None:
        actions = self.ledger.advance(self.now)
        self.loads += actions.loads
        self.granted += [grant.use for grant in actions.grants]
        self.refused += [(refusal.use, refusal.error) for refusal in actions.refusals]

    def finish(self, size: int | None = None, digest: bytes | None = None) -> None:
        """The oldest load is done."""
        load = self.loads.pop(0)
        packed = Box(load.version.source.byte_size if size is None else size)
        try:
            self.ledger.keep(load, digest or load.version.name.encode(), packed)
        except AdapterCapacityError as error:
            self.ledger.fail(load, error)
        self.advance()

    def finish_all(self) -> None:
        while self.loads:
            self.finish()

    def resident(self, *versions: Version) -> list[bool]:
        return [self.ledger.status(version).resident_bytes > 0 for version in versions]


def test_two_uses_of_one_version_are_one_load() -> None:
    books = Books()
    version = books.add("a")
    first, second = books.use(version), books.use(version)
    assert len(books.loads) == 1
    assert books.granted == []
    books.now = 2.0
    books.finish()
    assert books.granted == [first, second]
    third = books.use(version)
    assert books.granted[-1] is third
    status = books.ledger.status(version)
    assert (status.load_count, status.use_count, status.user_count) == (1, 3, 3)
    assert status.wait_seconds == 4.0
    assert status.resident_bytes == books.ledger.resident_bytes == 10


def test_names_of_one_content_share_it() -> None:
    books = Books()
    mine, yours = books.add("a", "me"), books.add("b", "you")
    for version in (mine, yours):
        books.use(version)
        books.finish(digest=b"same")
    assert books.ledger.resident_bytes == 10
    assert books.ledger.status(mine).digest == books.ledger.status(yours).digest


def test_a_replaced_name_has_two_versions_until_the_last_use_ends() -> None:
    books = Books()
    old = books.add("a")
    use = books.use(old)
    books.finish(digest=b"old")
    new = books.add("a")
    assert (new.number, books.ledger.current(None, "a")) == (2, new)
    books.use(new)
    books.finish(digest=b"new")
    assert [v.number for v in books.ledger.versions(None, "a")] == [1, 2]
    assert books.ledger.resident_bytes == 20
    books.end(use)
    assert [v.number for v in books.ledger.versions(None, "a")] == [2]
    assert books.ledger.resident_bytes == 10
    assert not books.ledger.exists(old)


def test_withdrawn_names_go_with_their_last_use() -> None:
    books = Books()
    version = books.add("a")
    first, waiting = books.use(version), None
    books.finish()
    books.ledger.withdraw(None, "a")
    with pytest.raises(AdapterNotFoundError):
        books.ledger.current(None, "a")
    with pytest.raises(AdapterNotFoundError):
        books.ledger.withdraw(None, "a")
    assert books.resident(version) == [True]
    books.end(first)
    books.end(first)
    assert books.ledger.resident_bytes == 0
    assert waiting is None
    with pytest.raises(AdapterNotFoundError):
        books.ledger.versions(None, "a")


def test_a_use_that_waits_holds_its_version() -> None:
    books = Books()
    version = books.add("a")
    use = books.use(version)
    books.ledger.withdraw(None, "a")
    books.finish()
    assert books.granted == [use]
    books.end(use)
    assert books.ledger.resident_bytes == 0


def test_what_arrives_for_nobody_is_not_kept() -> None:
    books = Books()
    version = books.add("a")
    use = books.use(version)
    books.ledger.withdraw(None, "a")
    books.end(use)
    books.finish()
    assert books.ledger.resident_bytes == 0
    assert books.granted == []


def test_a_tenants_name_hides_everyones() -> None:
    books = Books()
    everyones, mine = books.add("a"), books.add("a", "me")
    assert books.ledger.current("me", "a") is mine
    assert books.ledger.current("you", "a") is everyones
    assert books.ledger.current(None, "a") is everyones
    assert {v.tenant for v in books.ledger.current_versions("you")} == {None}
    books.ledger.withdraw("me", "a")
    assert books.ledger.current("me", "a") is everyones


def test_others_pass_what_has_no_room_and_then_wait() -> None:
    books = Books(budget=20, patience=3)
    hot, warm, cold = books.add("hot"), books.add("warm"), books.add("cold")
    held = [books.use(hot), books.use(warm)]
    books.finish_all()
    waiting = books.use(cold)
    for _ in range(3):  # those in memory are not held up by it
        held.append(books.use(hot))
        assert books.granted[-1] is held[-1]
    late = books.use(warm)  # `warm` is the longest unused: closed
    assert late not in books.granted
    books.end(held[1])
    assert [load.version for load in books.loads] == [cold]
    assert books.resident(hot, warm) == [True, False]
    books.finish()
    assert waiting in books.granted
    assert late not in books.granted
    books.end(waiting)
    books.finish()
    assert late in books.granted


def test_who_gives_up_opens_what_was_closed() -> None:
    books = Books(budget=10, patience=0)
    hot, cold = books.add("hot"), books.add("cold")
    books.use(hot)
    books.finish()
    waiting = books.use(cold)
    late = books.use(hot)
    assert late not in books.granted
    books.end(waiting)
    assert late in books.granted


def test_a_failed_load_fails_its_uses_and_no_others() -> None:
    books = Books()
    bad, good = books.add("bad"), books.add("good")
    failing, fine = books.use(bad), books.use(good)
    error = AdapterError("broken")
    books.ledger.fail(books.loads.pop(0), error)
    books.advance()
    books.finish()
    assert books.refused == [(failing, error)]
    assert books.granted == [fine]
    again = books.use(bad)  # it may have been repaired
    books.finish()
    assert books.granted[-1] is again


def test_more_than_there_can_ever_be() -> None:
    books = Books(budget=20)
    version = books.add("large", size=5)
    use = books.use(version)
    books.finish(size=21)
    ((refused, error),) = books.refused
    assert refused is use
    assert isinstance(error, AdapterCapacityError)
    pinned, other = books.add("pinned", size=15), books.add("other", size=10)
    books.ledger.set_pinned(None, "pinned", True)
    books.end(books.use(pinned))
    books.finish()
    books.use(pinned)
    books.use(other)
    assert isinstance(books.refused[-1][1], AdapterCapacityError)
    assert "5 are not pinned" in str(books.refused[-1][1])


def test_one_that_is_packed_into_more_waits_again() -> None:
    books = Books(budget=20)
    first, second = books.add("first"), books.add("second")
    use = books.use(first)
    books.finish()
    books.use(second)
    books.finish(size=15)
    assert len(books.granted) == 1
    books.end(use)
    books.finish(size=15)
    assert len(books.granted) == 2
    assert books.resident(first, second) == [False, True]


def test_pinned_ones_stay() -> None:
    books = Books(budget=20)
    versions = [books.add(name) for name in "abc"]
    books.ledger.set_pinned(None, "a", True)
    for version in versions:
        use = books.use(version)
        books.finish_all()
        books.end(use)
    assert books.resident(*versions) == [True, False, True]
    books.ledger.set_pinned(None, "a", False)
    use = books.use(versions[1])
    books.finish_all()
    assert books.resident(*versions) == [False, True, True]
    assert books.ledger.status(versions[0]).eviction_count == 1


def test_few_loads_at_once() -> None:
    books = Books(budget=1_000, slots=2)
    for index in range(10):
        books.use(books.add(f"n{index}"))
    assert len(books.loads) == 2
    books.finish()
    assert len(books.loads) == 2


def test_a_thousand_names_with_memory_for_thirty_two() -> None:
    """Everyone is served, in bounded order, whatever is hot."""
    chance = random.Random(9)
    books = Books(budget=320, patience=8, slots=2)
    versions = [books.add(f"n{index}") for index in range(1_000)]
    running: list[AdapterUse] = []
    asked: dict[AdapterUse, int] = {}
    waits: list[int] = []
    served: Counter[str] = Counter()
    seen = 0
    for turn in range(6_000):
        is_hot = chance.random() < 0.7
        version = versions[chance.randrange(24) if is_hot else chance.randrange(24, 1_000)]
        asked[books.use(version)] = turn
        if books.loads:
            books.finish()
        for use in books.granted[seen:]:
            waits.append(turn - asked[use])
            running.append(use)
        seen = len(books.granted)
        while len(running) > 24:
            books.end(running.pop(chance.randrange(len(running))))
        assert books.ledger.resident_bytes <= 320
    for version in versions:
        served[version.name] += version.use_count
    assert not books.refused
    assert len(waits) > 5_900
    assert sorted(waits)[int(0.99 * len(waits))] < 60
    assert max(waits) < 200
    assert sum(version.eviction_count for version in versions) > 500
    assert sum(count > 0 for count in served.values()) > 800
