"""The books of the adapters' manager: names, versions, what is in memory, who waits for what.

No threads, no files, no clock: each method changes the books, and `advance` says what is to be
done next. The same calls in the same order give the same books.

A version is loaded for one base at a time; that pair is a load. What a load gives is a content,
known by base and digest; versions of equal content share it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from realm.errors import AdapterCapacityError, AdapterError, AdapterNotFoundError
from realm.lora.records import Actions, ContentKey, Grant, Load, Refusal, Version
from realm.lora.residency import Resident, Wanted, plan_residency
from realm.lora.source import AdapterSource
from realm.lora.use import AdapterStatus, AdapterUse, Packed

_PLANNED_TOGETHER = 64
_TOLD_CHARACTERS = 200  # of a name that nobody has; a stranger's may be long


@dataclass(slots=True, eq=False)
class _Content:
    packed: Packed
    byte_size: int
    user_count: int = 0
    last_used: int = 0


@dataclass(slots=True, eq=False)
class _Waiting:
    use: AdapterUse
    order: int
    since: float


@dataclass(slots=True, eq=False)
class _Queue:
    """Uses that wait for one load. passed_count: of the first of them."""

    uses: deque[_Waiting] = field(default_factory=deque)
    passed_count: int = 0
    reserved_bytes: int = 0  # more while it is being loaded


class AdapterLedger:
    """Names by tenant, and what is in memory under `budget_bytes`. Not safe for several threads."""

    def __init__(self, budget_bytes: int, patience: int, load_slots: int) -> None:
        """load_slots: how many loads are begun at once; a load has its room from then on."""
        self.budget_bytes = budget_bytes
        self._patience = patience
        self._load_slots = load_slots
        self._names: dict[tuple[str | None, str], list[Version]] = {}
        self._pinned: set[tuple[str | None, str]] = set()
        self._contents: dict[ContentKey, _Content] = {}
        self.load_count = 0
        self._naming: dict[ContentKey, set[Version]] = {}
        self._queues: dict[Load, _Queue] = {}
        self._held: dict[AdapterUse, tuple[Version, ContentKey]] = {}
        self._queued: dict[AdapterUse, Load] = {}
        self._closed: frozenset[ContentKey] = frozenset()
        self._touched: dict[Load, None] = {}  # in order
        self._refused: list[Refusal] = []
        self._tick = 0

    # Names

    def add(self, tenant: str | None, name: str, source: AdapterSource) -> Version:
        """A new version, from now on what the name means."""
        versions = self._names.setdefault((tenant, name), [])
        number = versions[-1].number + 1 if versions else 1
        version = Version(tenant, name, number, source)
        for older in versions:
            older.is_current = False
        versions.append(version)
        self._forget_unused(tenant, name)
        return version

    def withdraw(self, tenant: str | None, name: str) -> list[Version]:
        """The name means nothing from now on; its versions that were there."""
        versions = [*self.versions(tenant, name)]
        if not versions[-1].is_current:
            raise _not_found(name)
        versions[-1].is_current = False
        self._pinned.discard((tenant, name))
        self._forget_unused(tenant, name)
        return versions

    def current(self, tenant: str | None, name: str) -> Version:
        """What the name means for a tenant: its own, else everyone's."""
        for owner in (tenant, None):
            versions = self._names.get((owner, name))
            if versions and versions[-1].is_current:
                return versions[-1]
        raise _not_found(name)

    def versions(self, tenant: str | None, name: str) -> list[Version]:
        """Every version of the owner's name that still exists, the newest last."""
        try:
            return self._names[tenant, name]
        except KeyError:
            raise _not_found(name) from None

    def current_versions(self, tenant: str | None) -> Iterator[Version]:
        """The newest versions of a tenant's names and of everyone's."""
        for (owner, _), versions in self._names.items():
            if owner in (None, tenant) and versions[-1].is_current:
                yield versions[-1]

    def set_pinned(self, tenant: str | None, name: str, pinned: bool) -> None:
        """Whether what the name means stays in memory once it is there."""
        if not self.versions(tenant, name)[-1].is_current:
            raise _not_found(name)
        (self._pinned.add if pinned else self._pinned.discard)((tenant, name))

    def exists(self, version: Version) -> bool:
        """Whether somebody can ask for it or uses it."""
        return version in self._names.get((version.tenant, version.name), ())

    def status(self, version: Version) -> AdapterStatus:
        """What is known of a version."""
        keys = [key for key, _ in version.known.values()]
        return AdapterStatus(
            tenant=version.tenant,
            name=version.name,
            version=version.number,
            path=version.source.path,
            digest=keys[0].digest.hex() if keys else None,
            is_current=version.is_current,
            is_pinned=version.is_current and (version.tenant, version.name) in self._pinned,
            user_count=version.user_count,
            waiting_count=version.waiting_count,
            resident_bytes=sum(self._contents[k].byte_size for k in keys if k in self._contents),
            load_count=version.load_count,
            eviction_count=version.eviction_count,
            use_count=version.use_count,
            wait_seconds=version.wait_seconds,
        )

    @property
    def resident_bytes(self) -> int:
        """Bytes of everything in memory."""
        return sum(content.byte_size for content in self._contents.values())

    @property
    def resident_count(self) -> int:
        """How many contents are in memory."""
        return len(self._contents)

    # Uses

    def begin(self, use: AdapterUse, version: Version, base: str, now: float) -> None:
        """A use waits for a version. now: seconds, as in `advance`."""
        self._tick += 1
        load = Load(version, base)
        queue = self._queues.setdefault(load, _Queue())
        queue.uses.append(_Waiting(use, self._tick, now))
        version.waiting_count += 1
        self._queued[use] = load
        self._touched[load] = None

    def end(self, use: AdapterUse) -> None:
        """A use is over, whether it had its adapter or not; again: nothing."""
        held = self._held.pop(use, None)
        if held is not None:
            version, key = held
            self._tick += 1
            self._contents[key].user_count -= 1
            self._contents[key].last_used = self._tick
            version.user_count -= 1
            self._forget_unused(version.tenant, version.name)
        load = self._queued.pop(use, None)
        if load is not None:
            queue = self._queues[load]
            queue.uses = deque(each for each in queue.uses if each.use is not use)
            load.version.waiting_count -= 1
            self._drop_empty(load)
            self._forget_unused(load.version.tenant, load.version.name)

    # Loads

    def keep(self, load: Load, digest: bytes, packed: Packed) -> None:
        """A load is done. The content stays where it has room, and waits for room otherwise.

        Raises AdapterCapacityError for one that is larger than the budget, as `fail` does to those
        who wait.
        """
        version, base = load
        key, byte_size = ContentKey(base, digest), packed.byte_size
        self._end_load(load)
        if byte_size > self.budget_bytes:
            text = f"{byte_size} bytes, and all adapters may take {self.budget_bytes}"
            raise AdapterCapacityError(f"{version.source.path}: {text}")
        if not self.exists(version):
            return
        version.known[base] = (key, byte_size)
        self._naming.setdefault(key, set()).add(version)
        version.load_count += 1
        self.load_count += 1
        if key not in self._contents:
            self._make_room(byte_size)
            if byte_size <= self._free_bytes():
                self._tick += 1
                self._contents[key] = _Content(packed, byte_size, last_used=self._tick)
        self._touched |= {each: None for each in self._queues if self._content_of(each) == key}

    def fail(self, load: Load, error: AdapterError) -> None:
        """A load ended in an error: so do the uses that wait for it."""
        self._end_load(load)
        queue = self._queues.pop(load, _Queue())
        for each in queue.uses:
            del self._queued[each.use]
            load.version.waiting_count -= 1
            self._refused.append(Refusal(each.use, error))
        self._forget_unused(load.version.tenant, load.version.name)

    def fail_all(self, error: AdapterError) -> None:
        """Every use that waits ends in this error."""
        for load in [*self._queues]:
            self.fail(load, error)

    def advance(self, now: float) -> Actions:
        """Whatever can be done now. Call it after every change."""
        grants: list[Grant] = []
        loads: list[Load] = []
        while True:
            grants += self._grant(now)
            pinned = self._pinned_contents()
            wanted = self._wanted(pinned)
            in_flight = [q.reserved_bytes for q in self._queues.values() if q.reserved_bytes]
            slots = self._load_slots - len(in_flight)
            plan = plan_residency(
                self.budget_bytes,
                sum(in_flight),
                [
                    Resident(key, c.byte_size, c.user_count, key in pinned, c.last_used)
                    for key, c in self._contents.items()
                ],
                wanted[: max(slots, 1)],
                self._patience,
            )
            if slots > 0:
                for key in plan.evict:
                    self._evict(key)
                sizes = {each.key: each.byte_size for each in wanted}
                for load in plan.load:
                    self._queues[load].reserved_bytes = sizes[load]
                loads += plan.load
            opened = self._closed - plan.closed
            self._closed = plan.closed
            self._touched = {
                each: None for each in self._queues if self._content_of(each) in opened
            }
            if not self._touched:
                break
        refused, self._refused = self._refused, []
        return Actions(tuple(grants), tuple(refused), tuple(loads))

    # Behind them

    def _grant(self, now: float) -> list[Grant]:
        grants: list[Grant] = []
        for load in self._touched:
            key, queue = self._content_of(load), self._queues.get(load)
            content = None if key is None or key in self._closed else self._contents.get(key)
            if key is None or content is None or queue is None:
                continue
            version = load.version
            for each in queue.uses:
                self._tick += 1
                content.user_count += 1
                content.last_used = self._tick
                self._held[each.use] = (version, key)
                del self._queued[each.use]
                each.use.digest = key.digest
                grants.append(Grant(each.use, content.packed))
                version.wait_seconds += now - each.since
                self._count_as_passed(each.order)
            version.use_count += len(queue.uses)
            version.user_count += len(queue.uses)
            version.waiting_count -= len(queue.uses)
            queue.uses.clear()
            self._drop_empty(load)
        self._touched = {}
        return grants

    def _count_as_passed(self, order: int) -> None:
        for queue in islice(self._queues.values(), _PLANNED_TOGETHER):
            if queue.uses and queue.uses[0].order < order:
                queue.passed_count += 1

    def _wanted(self, pinned: set[ContentKey]) -> list[Wanted[Load]]:
        """The first loads that are neither begun nor in memory, one for each content."""
        wanted: list[Wanted[Load]] = []
        pinned_bytes = sum(c.byte_size for k, c in self._contents.items() if k in pinned)
        most = self.budget_bytes - pinned_bytes
        contents: set[ContentKey] = set()
        for load, queue in [*islice(self._queues.items(), _PLANNED_TOGETHER)]:
            key = self._content_of(load)
            if queue.reserved_bytes or key in self._contents or key in contents:
                continue
            byte_size = self._expected_bytes(load)
            if byte_size > most:
                text = f"{byte_size} bytes, and of the memory for adapters {most} are not pinned"
                name = load.version.name
                self.fail(load, AdapterCapacityError(f"adapter {name!r}: {text}"))
                continue
            if key is not None:
                contents.add(key)
            wanted.append(Wanted(load, byte_size, queue.passed_count))
        return wanted

    def _expected_bytes(self, load: Load) -> int:
        known = load.version.known.get(load.base)
        # A file of float32 is packed into less; one that is packed into more waits once again.
        estimate = known[1] if known else min(load.version.source.byte_size, self.budget_bytes)
        return max(estimate, 1)

    def _content_of(self, load: Load) -> ContentKey | None:
        known = load.version.known.get(load.base)
        return known[0] if known else None

    def _end_load(self, load: Load) -> None:
        queue = self._queues.get(load)
        if queue is not None:
            queue.reserved_bytes = 0
            self._drop_empty(load)

    def _drop_empty(self, load: Load) -> None:
        queue = self._queues[load]
        if not queue.uses and not queue.reserved_bytes:
            del self._queues[load]

    def _free_bytes(self) -> int:
        reserved = sum(queue.reserved_bytes for queue in self._queues.values())
        return self.budget_bytes - reserved - self.resident_bytes

    def _make_room(self, byte_size: int) -> None:
        pinned = self._pinned_contents()
        idle = [k for k, c in self._contents.items() if not (c.user_count or k in pinned)]
        if byte_size > self._free_bytes() + sum(self._contents[k].byte_size for k in idle):
            return
        idle.sort(key=lambda key: self._contents[key].last_used)
        while byte_size > self._free_bytes():
            self._evict(idle.pop(0))

    def _evict(self, key: ContentKey) -> None:
        del self._contents[key]
        for version in self._naming[key]:
            version.eviction_count += 1

    def _pinned_contents(self) -> set[ContentKey]:
        return {
            key
            for name in self._pinned
            for version in self._names[name]
            if version.is_current
            for key, _ in version.known.values()
        }

    def _forget_unused(self, tenant: str | None, name: str) -> None:
        """Versions that nobody can ask for and nobody uses; a content goes with its last one."""
        versions = self._names.get((tenant, name), [])
        gone = [v for v in versions if not (v.is_current or v.user_count or v.waiting_count)]
        for version in gone:
            versions.remove(version)
        if not versions:
            self._names.pop((tenant, name), None)
            self._pinned.discard((tenant, name))
        for version in gone:
            for key, _ in version.known.values():
                self._naming[key].discard(version)
                if not self._naming[key]:
                    del self._naming[key]
                    self._contents.pop(key, None)


def _not_found(name: str) -> AdapterNotFoundError:
    shown = name if len(name) <= _TOLD_CHARACTERS else f"{name[:_TOLD_CHARACTERS]}..."
    return AdapterNotFoundError(f"no adapter {shown!r}")
