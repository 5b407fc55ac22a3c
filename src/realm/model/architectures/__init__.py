"""Architectures as data: how each one's metadata becomes `Hyperparameters`."""

from realm.model.architectures.registry import read_hyperparameters

__all__ = ["read_hyperparameters"]
