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
    wanted = [layers for each in sequences for layers in _wanted(each, may_be_asked)]
    return tuple(sorted(set().union(*wanted))) if wanted else None


def wants_feature(sequence: Sequence) -> bool:
    """Whether it, or its drafter, has a use for one."""
    return bool(_wanted(sequence, True))


def _wanted(sequence: Sequence, may_be_asked: bool) -> list[tuple[int, ...]]:
    drafter = sequence.drafter if may_be_asked else None
    both = (sequence.feature_layers, None if drafter is None else drafter.feature_layers)
    return [layers for layers in both if layers is not None]
