"""Models: hyperparameters, weights, vocabulary, and the storage that holds each once."""

from realm.model.hyperparameters import Hyperparameters
from realm.model.storage import ModelStorage
from realm.model.stored import StoredModel
from realm.model.tensor_reader import TensorReader

__all__ = ["Hyperparameters", "ModelStorage", "StoredModel", "TensorReader"]
