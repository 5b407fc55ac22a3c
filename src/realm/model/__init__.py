"""Models: hyperparameters, weights, vocabulary, and the storage that holds each once."""

from realm.model.draft_model import DraftModel, check_speaks, match_draft, vocabulary_digest
from realm.model.hyperparameters import Hyperparameters, feature_parts
from realm.model.packed_adapter import (
    AdapterPrecision,
    AdapterRows,
    PackedAdapter,
    WeightedAdapter,
    adapter_rows,
    check_adapters,
)
from realm.model.storage import ModelStorage
from realm.model.stored import StoredModel
from realm.model.tensor_reader import TensorReader

__all__ = [
    "AdapterPrecision",
    "AdapterRows",
    "DraftModel",
    "Hyperparameters",
    "ModelStorage",
    "PackedAdapter",
    "StoredModel",
    "TensorReader",
    "WeightedAdapter",
    "adapter_rows",
    "check_adapters",
    "check_speaks",
    "feature_parts",
    "match_draft",
    "vocabulary_digest",
]
