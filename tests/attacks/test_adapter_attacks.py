"""Every hostile adapter ends in exactly the error that its row names."""

import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from attacks.adapters import files as f
from attacks.adapters import fuzz
from attacks.adapters.attack import Attack
from attacks.adapters.table import ATTACKS

from realm.lora import load_adapter

MEMORY_BYTES = 48 << 20


def test_the_table() -> None:
    assert len(ATTACKS) >= 100
    assert max(Counter(attack.name for attack in ATTACKS).values()) == 1


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attack(attack: Attack, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    path = attack.make(folder)
    base = f.base()
    tracemalloc.start()
    try:
        with pytest.raises(attack.error) as raised:
            load_adapter(path, base)
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()
    assert raised.type is attack.error
    message = str(raised.value)
    assert message.startswith(str(path))
    assert attack.place in message
    assert message.replace("\0", "").isprintable()
    assert len(message) < len(str(path)) * 2 + 400


def test_what_is_mutated_loads(tmp_path: Path) -> None:
    for seed in fuzz.SEEDS:
        assert fuzz.outcome(seed.write(tmp_path, seed.data())) == "loads", seed.name
