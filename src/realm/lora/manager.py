"""`LoRAManager`: names of adapters, their versions, and which of them stand in memory.

The ledger keeps the books; here its actions are carried out. Files are read and packed on a
loader's thread, or on the caller's in `load`, never under the lock: nobody who asks for an adapter
waits for another's. It never touches an engine: what is in memory is what `pack` made.
"""

from __future__ import annotations

import builtins
import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from realm.errors import (
    AdapterCapacityError,
    AdapterError,
    AdapterOpenError,
    ConfigError,
    RealmError,
)
from realm.lora.adapter_file import AdapterFile
from realm.lora.base import AdapterBase
from realm.lora.layout_cache import LayoutCache
from realm.lora.ledger import AdapterLedger
from realm.lora.load import open_adapter
from realm.lora.records import Load, Version
from realm.lora.source import AdapterSource, take_source
from realm.lora.use import AdapterStatus, AdapterUse, Packed

Pack = Callable[[AdapterFile], Packed]
Prepare = Callable[[int], bool]
_PATIENCE = 64
_LONGEST_NAME = 200


class _Base(NamedTuple):
    """What `add_base` was given."""

    shapes: AdapterBase
    pack: Pack
    prepare: Prepare


class LoRAManager:
    """Adapters of all tenants under one budget of bytes. Safe to use from many threads.

    budget_bytes: of packed adapters in memory. patience: how many uses of others may pass one that
    finds no room. clock: seconds, for the statistics alone.
    """

    def __init__(
        self,
        budget_bytes: int,
        *,
        loader_threads: int = 1,
        patience: int = _PATIENCE,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Raises ConfigError."""
        if budget_bytes < 0 or loader_threads < 1 or patience < 0:
            raise ConfigError("budget_bytes, patience >= 0 and loader_threads >= 1 must hold")
        self._lock = threading.Lock()
        self._ledger = AdapterLedger(budget_bytes, patience, loader_threads + 1)
        self._bases: dict[str, _Base] = {}
        self._leaving: list[tuple[Future[None], list[Version]]] = []
        self._layouts = LayoutCache()
        self._clock = clock
        self._is_shut = False
        self._loaders = ThreadPoolExecutor(loader_threads, "realm-adapter-load")

    # Names

    def add_base(
        self, key: str, base: AdapterBase, pack: Pack, prepare: Prepare = lambda _: False
    ) -> None:
        """A model that adapters may be for. key: the model's content hash. pack: makes of an
        adapter what the engine uses; called on loaders' threads and on those of `load`. prepare:
        called on a loader's thread after a load, with the bytes of that adapter: does a bit of what
        makes the next one faster, and says whether there is more to do."""
        with self._lock:
            self._bases.setdefault(key, _Base(base, pack, prepare))

    def load(self, name: str, path: str | Path, tenant: str | None = None) -> AdapterStatus:
        """Make the adapter at `path` the newest version of `name`; new requests take it.

        tenant: whose name it is; None makes it every tenant's. With bases known, it is read,
        checked against them and packed at once, on this thread, and stays in memory where there is
        room; with none it is only looked for. Running uses keep their version.
        Raises an AdapterError; then the name means what it meant before.
        """
        if not 0 < len(name) <= _LONGEST_NAME:
            raise ConfigError(f"an adapter's name has 1 to {_LONGEST_NAME} characters")
        source = take_source(path)
        with self._lock:
            bases = dict(self._bases)
        fitted = _fit(source, bases, self._layouts)
        with self._lock:
            self._require_open()
            if fitted is not None and fitted[2].byte_size > self._ledger.budget_bytes:
                raise _too_large(source, fitted[2].byte_size, self._ledger.budget_bytes)
            version = self._ledger.add(tenant, name, source)
            if fitted is not None:
                base, digest, packed = fitted
                self._ledger.keep(Load(version, base), digest, packed)
            status = self._ledger.status(version)
        self._advance()
        return status

    def unload(self, name: str, tenant: str | None = None) -> Future[None]:
        """Take the name away; the future is done when the last use of any version has ended.

        Raises AdapterNotFoundError.
        """
        done: Future[None] = Future()
        with self._lock:
            self._leaving.append((done, self._ledger.withdraw(tenant, name)))
        self._advance()
        return done

    def pin(self, name: str, tenant: str | None = None, *, pinned: bool = True) -> None:
        """Keep what the name means in memory from its next load on, or no longer.

        Raises AdapterNotFoundError.
        """
        with self._lock:
            self._ledger.set_pinned(tenant, name, pinned)
        self._advance()

    def list(self, tenant: str | None = None) -> builtins.list[AdapterStatus]:
        """The newest versions of what this tenant may name: its own and everyone's, by name."""
        with self._lock:
            found = [self._ledger.status(each) for each in self._ledger.current_versions(tenant)]
        return sorted(found, key=lambda status: (status.name, status.tenant or ""))

    def versions(self, name: str, tenant: str | None = None) -> builtins.list[AdapterStatus]:
        """Every version of the name that still exists, the newest last.

        Raises AdapterNotFoundError.
        """
        with self._lock:
            return [self._ledger.status(each) for each in self._ledger.versions(tenant, name)]

    # Uses

    def request(self, name: str, base: str, tenant: str | None = None) -> AdapterUse:
        """A use of what `name` means now: the tenant's own, else everyone's.

        base: a key of `add_base`. Returns at once; an adapter that is not in memory is queued for
        loading. Raises AdapterNotFoundError for the name, ConfigError for the base.
        """
        with self._lock:
            self._require_open()
            if base not in self._bases:
                raise ConfigError(f"adapters know no base {base!r}")
            version = self._ledger.current(tenant, name)
            use = AdapterUse(version.number, self._release)
            self._ledger.begin(use, version, base, self._clock())
        self._advance()
        return use

    def prefetch(self, name: str, base: str, tenant: str | None = None) -> Future[Packed]:
        """Bring the adapter into memory, where it stays until room is needed."""
        use = self.request(name, base, tenant)
        use.ready.add_done_callback(lambda _: use.release())
        return use.ready

    def resize(self, budget_bytes: int) -> None:
        """Another budget from now on; what is in use stays even where it is more than that."""
        with self._lock:
            self._ledger.budget_bytes = budget_bytes
        self._advance()

    @property
    def resident_bytes(self) -> int:
        """Bytes of all packed adapters in memory."""
        with self._lock:
            return self._ledger.resident_bytes

    @property
    def counts(self) -> tuple[int, int]:
        """Adapters in memory, and how often one was loaded."""
        with self._lock:
            return self._ledger.resident_count, self._ledger.load_count

    def close(self) -> None:
        """End the loaders; what still waits ends in an AdapterError. Safe to repeat."""
        with self._lock:
            self._is_shut = True
        self._loaders.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            self._ledger.fail_all(AdapterError("the adapters' manager is closed"))
        self._advance()

    def __enter__(self) -> LoRAManager:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Behind them

    def _require_open(self) -> None:
        if self._is_shut:
            raise ConfigError("the adapters' manager is closed")

    def _release(self, use: AdapterUse) -> None:
        with self._lock:
            self._ledger.end(use)
        use.ready.cancel()
        self._advance()

    def _advance(self) -> None:
        """Carry out what the ledger says. Futures are resolved without the lock, as their
        callbacks may come back here."""
        with self._lock:
            actions = self._ledger.advance(self._clock())
            left = [done for done, versions in self._leaving if not self._any_exists(versions)]
            self._leaving = [pair for pair in self._leaving if pair[0] not in left]
            if not self._is_shut:
                for load in actions.loads:
                    self._loaders.submit(self._carry_out, load)
        for grant in actions.grants:
            # Released in between: then it is cancelled, and the release has given it back.
            with contextlib.suppress(InvalidStateError):
                grant.use.ready.set_result(grant.packed)
        for refusal in actions.refusals:
            with contextlib.suppress(InvalidStateError):
                # To each its own: a raised error carries the traceback of whoever raised it.
                error = type(refusal.error)(*refusal.error.args)
                refusal.use.ready.set_exception(error)
        for done in left:
            with contextlib.suppress(InvalidStateError):  # its holder no longer waits
                done.set_result(None)

    def _any_exists(self, versions: builtins.list[Version]) -> bool:
        return any(self._ledger.exists(version) for version in versions)

    def _carry_out(self, load: Load) -> None:
        """On a loader's thread: read, check and pack; then let those who wait go on."""
        base = self._bases[load.base]
        version = load.version
        try:
            version.source.require_unchanged()
            with open_adapter(version.source.path, base.shapes, self._layouts) as file:
                packed = base.pack(file)
            digest, known = packed.digest, version.known.get(load.base)
            if known is not None and known[0].digest != digest:
                raise AdapterOpenError(f"{version.source.path}: its content has changed")
            with self._lock:
                self._ledger.keep(load, digest, packed)
        except Exception as reason:
            # Whatever `pack` may raise: nobody must wait for ever.
            with self._lock:
                self._ledger.fail(load, _as_adapter_error(reason, version))
            self._advance()
            return
        self._advance()
        self._prepare(base, packed.byte_size)

    def _prepare(self, base: _Base, byte_count: int) -> None:
        """Loads that wait come before what is left to do."""
        if base.prepare(byte_count):
            with contextlib.suppress(RuntimeError):  # the loaders are shut down
                self._loaders.submit(self._prepare, base, byte_count)


def _fit(
    source: AdapterSource, bases: dict[str, _Base], layouts: LayoutCache
) -> tuple[str, bytes, Packed] | None:
    """The first base that the adapter fits, its digest, and it packed; None without bases.

    Raises the AdapterError of the only base, or of the first one when it fits none.
    """
    errors: list[AdapterError] = []
    for key, base in bases.items():
        try:
            with open_adapter(source.path, base.shapes, layouts) as file:
                source.require_unchanged()
                packed = base.pack(file)
        except AdapterError as error:
            errors.append(error)
            continue
        return key, packed.digest, packed
    if errors:
        raise errors[0]
    return None


def _too_large(source: AdapterSource, byte_size: int, budget_bytes: int) -> AdapterError:
    text = f"{byte_size} bytes, and all adapters may take {budget_bytes}"
    return AdapterCapacityError(f"{source.path}: {text}")


def _as_adapter_error(reason: Exception, version: Version) -> AdapterError:
    """As those are told who use the name; where the file lies is the operator's alone."""
    name = f"adapter {version.name!r}"
    if isinstance(reason, AdapterError):
        return type(reason)(str(reason).replace(str(version.source.path), name))
    kind = "" if isinstance(reason, RealmError) else f"{type(reason).__name__}: "
    return AdapterError(f"{name}: cannot be packed: {kind}{reason}")
