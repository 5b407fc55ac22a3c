"""Tenants, keys and the names of uploaded items in a database.

It never holds a key's secret, nor what was uploaded, only where that lies.
"""

from realm.server.store.location import default_database_url
from realm.server.store.snapshot import Snapshot, StoredKey
from realm.server.store.tenant_store import TenantStore

__all__ = ["Snapshot", "StoredKey", "TenantStore", "default_database_url"]
