"""Where model files come from and where they are kept: sources, one folder, one index.

It fetches, verifies and finds files. It never reads a model and never installs a package.
"""

from realm.catalog.index import CatalogRecord
from realm.catalog.progress import FetchProgress, ProgressCallback
from realm.catalog.reference import (
    HubReference,
    PackageReference,
    PathReference,
    Reference,
    parse_reference,
)
from realm.catalog.store import Catalog, CatalogEntry, EntryState, default_directory
from realm.catalog.well_known import WELL_KNOWN_MODELS, WellKnownModel, find_well_known

__all__ = [
    "WELL_KNOWN_MODELS",
    "Catalog",
    "CatalogEntry",
    "CatalogRecord",
    "EntryState",
    "FetchProgress",
    "HubReference",
    "PackageReference",
    "PathReference",
    "ProgressCallback",
    "Reference",
    "WellKnownModel",
    "default_directory",
    "find_well_known",
    "parse_reference",
]
