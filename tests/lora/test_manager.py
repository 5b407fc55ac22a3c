"""The manager with real files, real threads, and a pack that the test holds back."""

import threading
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from attacks.adapters import files as f

from realm.errors import (
    AdapterCapacityError,
    AdapterError,
    AdapterFormatError,
    AdapterMismatchError,
    AdapterNotFoundError,
    AdapterOpenError,
    ConfigError,
)
from realm.lora import AdapterFile, LoRAManager

BASE = "base"
WAIT = 30.0  # seconds until a test fails instead of waiting for ever


class Box:
    """A packed adapter: half the float32 bytes."""

    def __init__(self, file: AdapterFile) -> None:
        self.adapter = file.read()
        self.digest = self.adapter.digest
        self.byte_size = self.adapter.byte_size // 2


class HeldPack:
    """Packs when the test lets it."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.allowed = threading.Semaphore(0)

    def __call__(self, file: AdapterFile) -> Box:
        self.begun.release()
        assert self.allowed.acquire(timeout=WAIT)
        return Box(file)


def write(folder: Path, name: str, alpha: float = 8) -> Path:
    return f.write_folder(folder / name, f.config(lora_alpha=alpha), f.safetensors(f.tensors()))


@pytest.fixture
def one_size(tmp_path: Path) -> int:
    """Packed bytes of one adapter."""
    with LoRAManager(1 << 20) as manager:
        manager.add_base(BASE, f.base(), Box)
        return manager.load("a", write(tmp_path, "probe")).resident_bytes


def test_load_and_use(tmp_path: Path) -> None:
    with LoRAManager(1 << 20) as manager:
        manager.add_base(BASE, f.base(), Box)
        status = manager.load("pirate", write(tmp_path, "pirate"))
        assert (status.name, status.version, status.tenant) == ("pirate", 1, None)
        assert status.resident_bytes == manager.resident_bytes > 0
        with manager.request("pirate", BASE, "anyone") as use:
            assert use.ready.done()  # it was in memory
            assert isinstance(use.packed, Box)
            assert use.packed.adapter.digest == use.digest
            assert use.digest is not None and use.digest.hex() == status.digest
        assert manager.list("anyone")[0].use_count == 1


def test_registered_before_any_base(tmp_path: Path) -> None:
    with LoRAManager(1 << 20) as manager:
        assert manager.load("pirate", write(tmp_path, "pirate")).digest is None
        with pytest.raises(ConfigError, match="no base"):
            manager.request("pirate", BASE)
        manager.add_base(BASE, f.base(), Box)
        with manager.request("pirate", BASE) as use:
            assert isinstance(use.ready.result(WAIT), Box)


def test_a_bad_file_leaves_the_name_as_it_was(tmp_path: Path) -> None:
    with LoRAManager(1 << 20) as manager:
        manager.add_base(BASE, f.base(), Box)
        digest = manager.load("a", write(tmp_path, "good")).digest
        bad = f.write_folder(tmp_path / "bad", f.config(r=9), f.safetensors(f.tensors()))
        with pytest.raises(AdapterFormatError):
            manager.load("a", bad)
        with pytest.raises(AdapterOpenError):
            manager.load("a", tmp_path / "none")
        with pytest.raises(ConfigError):
            manager.load("", write(tmp_path, "good"))
        assert [status.digest for status in manager.versions("a")] == [digest]


def test_the_wrong_base(tmp_path: Path) -> None:
    path = write(tmp_path, "a")
    with LoRAManager(1 << 20) as manager:
        manager.add_base("deep", f.base(), Box)
        shapes = {name: s for name, s in f.base().shapes.items() if not name.startswith("blk.1.")}
        manager.add_base("shallow", f.base(shapes=shapes, layer_count=1), Box)
        manager.load("a", path)
        use = manager.request("a", "shallow")
        with pytest.raises(AdapterMismatchError, match=r"layers\.1\."):
            use.ready.result(WAIT)
        with pytest.raises(AdapterMismatchError):
            _ = use.packed
        use.release()
        assert manager.request("a", "deep").packed is not None


def test_running_uses_keep_their_version(tmp_path: Path) -> None:
    with LoRAManager(1 << 20) as manager:
        manager.add_base(BASE, f.base(), Box)
        manager.load("a", write(tmp_path, "one", alpha=8))
        old = manager.request("a", BASE)
        manager.load("a", write(tmp_path, "two", alpha=16))
        new = manager.request("a", BASE)
        assert (old.version, new.version) == (1, 2)
        assert old.digest != new.digest
        assert isinstance(old.packed, Box)
        assert next(iter(old.packed.adapter.factors.values())).scale == 2.0
        assert [status.version for status in manager.versions("a")] == [1, 2]
        held = manager.resident_bytes
        old.release()
        old.release()
        assert [status.version for status in manager.versions("a")] == [2]
        assert manager.resident_bytes == held // 2


def test_unload_waits_for_the_last_use(tmp_path: Path) -> None:
    with LoRAManager(1 << 20) as manager:
        manager.add_base(BASE, f.base(), Box)
        manager.load("a", write(tmp_path, "a"))
        use = manager.request("a", BASE)
        gone = manager.unload("a")
        with pytest.raises(AdapterNotFoundError):
            manager.request("a", BASE)
        assert not gone.done()
        assert use.packed is not None
        use.release()
        assert gone.done()
        assert manager.resident_bytes == 0
        manager.load("a", write(tmp_path, "a"))
        assert manager.unload("a").done()


def test_who_cancels_an_unload_troubles_nobody(tmp_path: Path) -> None:
    with LoRAManager(1 << 20) as manager:
        manager.add_base(BASE, f.base(), Box)
        manager.load("a", write(tmp_path, "a"))
        use = manager.request("a", BASE)
        cancelled = manager.unload("a")
        manager.load("a", write(tmp_path, "a"))
        other = manager.unload("a")
        assert cancelled.cancel()
        use.release()
        assert other.done()
        assert manager.resident_bytes == 0


def test_a_cold_adapter_holds_up_nobody(tmp_path: Path, one_size: int) -> None:
    pack = HeldPack()
    with LoRAManager(4 * one_size) as manager:
        for name, alpha in (("cold", 1), ("hot", 2)):
            manager.load(name, write(tmp_path, name, alpha))
        manager.add_base(BASE, f.base(), pack)
        pack.allowed.release()
        manager.prefetch("hot", BASE).result(WAIT)
        cold = manager.request("cold", BASE)
        assert pack.begun.acquire(timeout=WAIT) and pack.begun.acquire(timeout=WAIT)
        hot = manager.request("hot", BASE)  # while the loader is busy with the other
        assert hot.packed is not None
        assert cold.packed is None
        called = threading.Event()
        cold.ready.add_done_callback(lambda _: called.set())
        pack.allowed.release()
        assert called.wait(WAIT)
        assert cold.packed is not None


def test_the_longest_unused_makes_room(tmp_path: Path, one_size: int) -> None:
    with LoRAManager(2 * one_size) as manager:
        manager.add_base(BASE, f.base(), Box)
        for index, name in enumerate("abc"):
            manager.load(name, write(tmp_path, name, alpha=index + 1))
        assert [s.resident_bytes > 0 for s in manager.list()] == [False, True, True]
        assert manager.versions("a")[0].eviction_count == 1
        with manager.request("a", BASE) as use:
            use.ready.result(WAIT)
            assert [s.resident_bytes > 0 for s in manager.list()] == [True, False, True]
            assert manager.versions("a")[0].load_count == 2
        manager.pin("c")
        manager.resize(one_size)
        assert [s.resident_bytes > 0 for s in manager.list()] == [False, False, True]
        with pytest.raises(AdapterCapacityError, match="not pinned"):
            manager.request("a", BASE).ready.result(WAIT)


def test_who_waits_for_memory_gets_it_when_it_is_given_back(tmp_path: Path, one_size: int) -> None:
    with LoRAManager(one_size) as manager:
        manager.add_base(BASE, f.base(), Box)
        manager.load("a", write(tmp_path, "a", 1))
        manager.load("b", write(tmp_path, "b", 2))
        first = manager.request("a", BASE)
        first.ready.result(WAIT)
        second = manager.request("b", BASE)
        assert second.packed is None
        first.release()
        second.ready.result(WAIT)
        assert manager.resident_bytes == one_size


def test_larger_than_the_budget(tmp_path: Path, one_size: int) -> None:
    with LoRAManager(one_size - 1) as manager:
        manager.load("a", write(tmp_path, "a"))
        manager.add_base(BASE, f.base(), Box)
        with pytest.raises(AdapterCapacityError):
            manager.request("a", BASE).ready.result(WAIT)
        with pytest.raises(AdapterCapacityError):
            manager.load("b", write(tmp_path, "a"))
        with pytest.raises(AdapterNotFoundError):
            manager.versions("b")


def test_released_before_it_was_ready(tmp_path: Path) -> None:
    pack = HeldPack()
    with LoRAManager(1 << 20) as manager:
        manager.load("a", write(tmp_path, "a"))
        manager.add_base(BASE, f.base(), pack)
        use = manager.request("a", BASE)
        assert pack.begun.acquire(timeout=WAIT)
        use.release()
        with pytest.raises(CancelledError):
            use.ready.result(WAIT)
        assert use.packed is None
        again = manager.request("a", BASE)
        pack.allowed.release(2)
        again.ready.result(WAIT)
        assert manager.versions("a")[0].user_count == 1


def test_a_file_that_changes_under_its_name(tmp_path: Path, one_size: int) -> None:
    with LoRAManager(one_size) as manager:
        manager.add_base(BASE, f.base(), Box)
        path = write(tmp_path, "a", 1)
        manager.load("a", path)
        manager.load("b", write(tmp_path, "b", 2))  # `a` leaves memory
        weights = path / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-8] + bytes(8))
        with pytest.raises(AdapterOpenError, match="changed"):
            manager.request("a", BASE).ready.result(WAIT)
        manager.load("a", path)
        assert manager.request("a", BASE).ready.result(WAIT).byte_size == one_size


def test_whatever_pack_raises_reaches_those_who_wait(tmp_path: Path) -> None:
    def broken(_: AdapterFile) -> Box:
        raise MemoryError("none left")

    with LoRAManager(1 << 20) as manager:
        manager.load("a", write(tmp_path, "a"))
        manager.add_base(BASE, f.base(), broken)
        with pytest.raises(AdapterError, match="MemoryError: none left"):
            manager.request("a", BASE).ready.result(WAIT)


def test_tenants_see_their_own_names(tmp_path: Path) -> None:
    with LoRAManager(1 << 20) as manager:
        manager.add_base(BASE, f.base(), Box)
        manager.load("a", write(tmp_path, "a", 1), tenant="me")
        manager.load("b", write(tmp_path, "b", 2))
        assert [status.name for status in manager.list("me")] == ["a", "b"]
        assert [status.name for status in manager.list("you")] == ["b"]
        with pytest.raises(AdapterNotFoundError):
            manager.request("a", BASE, "you")
        with pytest.raises(AdapterNotFoundError):
            manager.unload("a", "you")
        with pytest.raises(AdapterNotFoundError):
            manager.versions("a")


def test_closing_ends_what_waits(tmp_path: Path, one_size: int) -> None:
    manager = LoRAManager(one_size)
    manager.add_base(BASE, f.base(), Box)
    manager.load("a", write(tmp_path, "a", 1))
    manager.load("b", write(tmp_path, "b", 2))
    held = manager.request("b", BASE)
    waiting = manager.request("a", BASE)
    manager.close()
    manager.close()
    with pytest.raises(AdapterError, match="closed"):
        waiting.ready.result(WAIT)
    with pytest.raises(ConfigError, match="closed"):
        manager.request("b", BASE)
    held.release()


def test_many_threads(tmp_path: Path, one_size: int) -> None:
    """Uses of more adapters than fit, from many threads: each gets what it asked for."""
    with LoRAManager(3 * one_size, loader_threads=2) as manager:
        manager.add_base(BASE, f.base(), Box)
        for index in range(6):
            manager.load(f"n{index}", write(tmp_path, f"n{index}", alpha=4 * (index + 1)))
        failures: list[str] = []

        def work(seed: int) -> None:
            for turn in range(25):
                index = (seed * 7 + turn * 5) % 6
                with manager.request(f"n{index}", BASE) as use:
                    packed = use.ready.result(WAIT)
                    assert isinstance(packed, Box)
                    scale = next(iter(packed.adapter.factors.values())).scale
                    if scale != index + 1:
                        failures.append(f"{index}: {scale}")

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        assert failures == []
        statuses = manager.list()
        assert sum(status.use_count for status in statuses) == 100
        assert all(status.user_count == status.waiting_count == 0 for status in statuses)
        assert manager.resident_bytes <= 3 * one_size
