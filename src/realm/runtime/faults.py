"""What a client is told when the host itself went wrong."""

from __future__ import annotations

from realm.errors import HostError, RealmError


def host_fault(error: Exception) -> HostError:
    """The error that stands for one of no class of realm.errors."""
    return HostError(f"a fault of the host: {type(error).__name__}: {error}")


def error_of_one(error: Exception) -> RealmError:
    """For one of several whom it meets: a raised error carries the frames of whoever raised it."""
    return type(error)(*error.args) if isinstance(error, RealmError) else host_fault(error)
