"""Parts that the tests of programs share."""

from __future__ import annotations

import pytest

from realm.runtime.limits import HostLimits
from realm.runtime.program import GuestHost

SMALL = HostLimits(guest_count=4, memory_bytes=1 << 20)


@pytest.fixture(scope="module")
def host() -> GuestHost:
    return GuestHost(SMALL)
