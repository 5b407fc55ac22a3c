"""Models that guests bring as bytes: in memory once, and gone with their last holder.

A file without a name keeps the bytes for as long as the model is stored. Storing and releasing
wait for other models that are being loaded, so the engine thread does neither.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from realm.config import CachePrecision
from realm.errors import GGUFError, ModelError
from realm.model import ModelStorage, StoredModel
from realm.runtime.hosted_model import HostedModel

_NAME = "guest"


class ModelHold:
    """One guest's hold: its handle and its sessions. `release` is called when all are gone.

    Engine thread only.
    """

    def __init__(self, release: Callable[[], None]) -> None:
        self._count = 1
        self._release = release

    def take(self) -> None:
        """One more."""
        self._count += 1

    def drop(self) -> None:
        """One less."""
        self._count -= 1
        if self._count == 0:
            self._release()


class GuestModels:
    """Worker threads. on_gone: called for a model that is no longer stored. cache_precision: of the
    engine that runs them."""

    def __init__(
        self,
        storage: ModelStorage,
        on_gone: Callable[[StoredModel], None],
        cache_precision: CachePrecision = "float16",
    ) -> None:
        self._storage = storage
        self._on_gone = on_gone
        self._cache_precision = cache_precision
        self._lock = threading.Lock()
        self._descriptors: dict[StoredModel, int] = {}

    def store(self, parts: Sequence[bytes]) -> HostedModel:
        """The model of a GGUF given in parts. Raises GGUFError, ModelError, TokenizerError.

        ModelError also where the machine has no room for the bytes.
        """
        try:
            descriptor, name = tempfile.mkstemp(prefix="realm-model-")
        except OSError as error:
            raise _not_kept(error) from error
        path = f"/dev/fd/{descriptor}"
        stored: StoredModel | None = None
        try:
            Path(name).unlink()
            for part in parts:
                _write(descriptor, part)
            stored = self._storage.hold(path, _NAME)
        except (GGUFError, ModelError) as error:
            raise type(error)(str(error).replace(path, "the stored model")) from None
        except OSError as error:
            raise _not_kept(error) from error
        finally:
            if stored is None or str(stored.path) != path:
                os.close(descriptor)
            else:
                with self._lock:
                    self._descriptors[stored] = descriptor
        return HostedModel(_NAME, stored, 0.0, self._cache_precision)

    def release(self, model: HostedModel) -> None:
        """Ends what one `store` began."""
        if not self._storage.release(model.stored):
            return
        with self._lock:
            descriptor = self._descriptors.pop(model.stored, None)
        if descriptor is not None:
            os.close(descriptor)
        self._on_gone(model.stored)


def _not_kept(error: OSError) -> ModelError:
    # Where it was to lie is not for the program to know.
    return ModelError(f"the stored model cannot be kept: {error.strerror}")


def _write(descriptor: int, part: bytes) -> None:
    view = memoryview(part)
    while view:
        view = view[os.write(descriptor, view) :]
