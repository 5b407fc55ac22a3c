"""Every hostile GGUF ends in exactly the error that its row names."""

import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from attacks.gguf import fuzz
from attacks.gguf.attack import Attack
from attacks.gguf.files import model_file
from attacks.gguf.table import ATTACKS

from realm.gguf import open_gguf

MEMORY_BYTES = 16 << 20


def test_the_table() -> None:
    assert len(ATTACKS) >= 30
    assert max(Counter(attack.name for attack in ATTACKS).values()) == 1


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attack(attack: Attack, tmp_path: Path) -> None:
    path = tmp_path / "hostile.gguf"
    path.write_bytes(attack.make())
    tracemalloc.start()
    try:
        with pytest.raises(attack.error) as raised:
            open_gguf(path)
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()
    assert raised.type is attack.error
    assert str(raised.value).startswith(f"{path}: ")
    assert attack.place in str(raised.value)
    assert str(raised.value).isprintable()


def test_the_file_that_is_mutated_opens(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(model_file())
    assert fuzz.outcome(path) == "opens"
