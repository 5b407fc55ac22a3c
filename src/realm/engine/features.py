"""Of which layers of the target a step leaves features, beside what its head multiplied."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Items

from realm.engine.sequence import Sequence
from realm.errors import RequestError
from realm.model import StoredModel


def checked_layers(model: StoredModel, layers: Items[int] | None) -> tuple[int, ...] | None:
    """Raises RequestError for one that the model does not have."""
    count = model.hyperparameters.layer_count
    if layers is None:
        return None
    for each in layers:
        if not 0 <= each < count:
            raise RequestError(f"the model has {count} layers, not one of number {each}")
    return tuple(layers)


def kept_layers(sequences: Iterable[Sequence], may_be_asked: bool) -> tuple[int, ...] | None:
    """Those of which one of the sequences wants features, ascending; None where none wants any.

    may_be_asked: a draft model, in the next step.
    """
    found: set[int] = set()
    wants = False
    for each in sequences:
        if each.feature_layers is not None:
            found.update(each.feature_layers)
            wants = True
        if may_be_asked and (read := _read_layers(each)) is not None:
            found.update(read)
            wants = True
    return tuple(sorted(found)) if wants else None


def wants_feature(sequence: Sequence) -> bool:
    """Whether it, or its drafter, has a use for one."""
    return sequence.feature_layers is not None or _read_layers(sequence) is not None


def _read_layers(sequence: Sequence) -> tuple[int, ...] | None:
    return None if sequence.drafter is None else sequence.drafter.feature_layers
