"""Who a request comes from, once its key was checked."""

from __future__ import annotations

from dataclasses import dataclass

from realm.server.definitions import Tenant


@dataclass(frozen=True, slots=True)
class Identity:
    """tenant: None for an admin key. key_prefix: of the key, for logs; None where keys are off."""

    tenant: Tenant | None
    key_prefix: str | None

    @property
    def is_admin(self) -> bool:
        """Whether it may administer, and nothing else."""
        return self.tenant is None
