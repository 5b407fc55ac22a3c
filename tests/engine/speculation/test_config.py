"""The configuration refuses what makes no sense."""

import pytest

from realm.config import SpeculativeConfig
from realm.errors import ConfigError


@pytest.mark.parametrize(
    "fields",
    [
        {"draft_k": -1},
        {"draft_k": 257},
        {"max_draft_tokens": -1},
        {"suffix_tokens": 63},
        {"history_tokens": -1},
        {"history_entries": 1 << 21},
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, int]) -> None:
    (name,) = fields
    with pytest.raises(ConfigError, match=name):
        SpeculativeConfig(**fields)


def test_zero_turns_it_off() -> None:
    assert SpeculativeConfig().enabled
    assert not SpeculativeConfig(draft_k=0).enabled
    assert not SpeculativeConfig(max_draft_tokens=0).enabled
