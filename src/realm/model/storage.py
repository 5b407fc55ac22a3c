"""Models in memory, each once, whoever loaded it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from realm.config import EngineConfig
from realm.errors import ModelNotFoundError
from realm.gguf import GGUFFile, open_gguf
from realm.kernels import SideWork, Team, instruction_set
from realm.lora import LoRAManager
from realm.model.adapter_base import adapter_base
from realm.model.architectures import read_hyperparameters
from realm.model.stored import StoredModel
from realm.model.tokenizer import load_tokenizer
from realm.model.weights import load_transformer

# Device, inode, size, and the times of the last change, in nanoseconds.
_FileIdentity = tuple[int, int, int, int, int]
_RESTING_NANOSECONDS = 1_000_000_000


class ModelStorage:
    """Loads GGUF files and shares them by content. Safe to use from many threads.

    threads: team size for packing and evaluation; 0 takes every processor.
    isa: instruction set of the models' kernels; None takes REALM_ISA or the processor's best.
    adapters: told of every model that `load` gives, as a base.
    The attribute side_work packs these adapters, beside the steps of the engine that is given it.
    """

    def __init__(
        self, threads: int = 0, isa: str | None = None, adapters: LoRAManager | None = None
    ) -> None:
        self.side_work = SideWork()
        self._adapters = adapters
        self._threads = EngineConfig(threads=threads).thread_count
        self._instruction_set = instruction_set(isa)
        self._lock = threading.Lock()
        self._by_hash: dict[str, StoredModel] = {}
        # How often a model is held; one that was loaded for good has no number here.
        self._holds: dict[str, int] = {}
        self._seen: dict[_FileIdentity, str] = {}

    def load(self, path: str | Path, name: str | None = None) -> StoredModel:
        """The model in this file; the one already stored when the content is the same.

        Raises GGUFError, ModelError, TokenizerError or NotSupportedError; then nothing is stored.
        """
        with self._lock:
            model, _ = self._find_or_read(path, name)
            self._holds.pop(model.content_hash, None)
        if self._adapters is not None:
            pack = partial(model.pack_adapter_file, side_work=self.side_work)
            prepare = self.side_work.prepare_memory
            self._adapters.add_base(model.content_hash, model.adapter_base, pack, prepare)
        return model

    def hold(self, path: str | Path, name: str | None = None) -> StoredModel:
        """As `load`, but only until `release` has been called as often as this."""
        with self._lock:
            model, is_new = self._find_or_read(path, name)
            if is_new or model.content_hash in self._holds:
                self._holds[model.content_hash] = self._holds.get(model.content_hash, 0) + 1
            return model

    def release(self, model: StoredModel) -> bool:
        """Ends one hold; whether it was the last one and the model is no longer stored."""
        with self._lock:
            count = self._holds.get(model.content_hash)
            if count is None or self._by_hash.get(model.content_hash) is not model:
                return False
            if count > 1:
                self._holds[model.content_hash] = count - 1
                return False
            del self._holds[model.content_hash], self._by_hash[model.content_hash]
            self._seen = {k: v for k, v in self._seen.items() if v != model.content_hash}
            return True

    def _find_or_read(self, path: str | Path, name: str | None) -> tuple[StoredModel, bool]:
        identity = _identity(path)
        if identity is not None and identity in self._seen:
            return self._by_hash[self._seen[identity]], False
        with open_gguf(path) as file:
            sizes = {model.size_bytes for model in self._by_hash.values()}
            is_new = file.size_bytes not in sizes or file.content_hash() not in self._by_hash
            if is_new:
                model = self._read(file, name or str(path))
                self._by_hash[model.content_hash] = model
            else:
                model = self._by_hash[file.content_hash()]
        if identity is not None and identity == _identity(path):
            self._seen[identity] = model.content_hash
        return model, is_new

    def _read(self, file: GGUFFile, name: str) -> StoredModel:
        hyperparameters = read_hyperparameters(file)
        with ThreadPoolExecutor(2, "realm-load") as background:
            # Both leave Python's lock free for most of their time.
            content_hash = background.submit(file.content_hash)
            tokenizer = background.submit(load_tokenizer, file.metadata)
            native = load_transformer(
                file, hyperparameters, Team(self._threads), self._instruction_set
            )
            return StoredModel(
                name=name,
                path=file.path,
                content_hash=content_hash.result(),
                hyperparameters=hyperparameters,
                tokenizer=tokenizer.result(),
                native=native,
                metadata=file.metadata,
                tensor_count=len(file.tensors),
                size_bytes=file.size_bytes,
                threads=self._threads,
                adapter_base=adapter_base(hyperparameters, file),
                adapters=self._adapters,
            )

    def by_hash(self, content_hash: str) -> StoredModel:
        """The stored model with this content; ModelNotFoundError when there is none."""
        try:
            return self._by_hash[content_hash]
        except KeyError:
            raise ModelNotFoundError(f"no model with the content {content_hash}") from None


def _identity(path: str | Path) -> _FileIdentity | None:
    """What tells a file from any other, and from itself after a change; None while that is unsure.

    The clock of a file system is coarse: two changes of one moment look the same.
    """
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    if time.time_ns() - found.st_ctime_ns < _RESTING_NANOSECONDS:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
