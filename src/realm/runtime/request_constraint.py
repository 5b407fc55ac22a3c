"""The constraint that a request brings, for whichever model its program uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realm.config.generation import CONSTRAINTS
from realm.runtime.hosted_model import HostedModel
from realm.session.constraint import Constraint, ConstraintCompiler

if TYPE_CHECKING:
    from realm.config import GenerationOptions


class RequestConstraint:
    """compiled: for the request's own model; None when the request has none."""

    def __init__(
        self,
        compiler: ConstraintCompiler,
        options: GenerationOptions,
        model: HostedModel,
        compiled: Constraint | None,
    ) -> None:
        self._compiler = compiler
        self._options = options
        self._model = model
        self._compiled = compiled
        self._is_needed = any(getattr(options, name) is not None for name in CONSTRAINTS)

    def is_ready(self, model: HostedModel) -> bool:
        """Whether `take` answers at once for this model."""
        return not self._is_needed or model.stored is self._model.stored

    def take(self, model: HostedModel) -> Constraint | None:
        """A new one at its beginning; None when the request has none. Raises ConstraintError."""
        if not self._is_needed:
            return None
        if model.stored is self._model.stored and self._compiled is not None:
            return self._compiled.copy()
        return self._compiler.compile(model.stored, self._options)
