"""Models in memory, each once, whoever loaded it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from realm.config import EngineConfig
from realm.errors import ModelNotFoundError
from realm.gguf import GGUFFile, open_gguf
from realm.kernels import Team, instruction_set
from realm.model.architectures import read_hyperparameters
from realm.model.stored import StoredModel
from realm.model.tokenizer import load_tokenizer
from realm.model.weights import load_transformer


class ModelStorage:
    """Loads GGUF files and shares them by content. Safe to use from many threads.

    threads: team size for packing and evaluation; 0 takes every processor.
    isa: instruction set of the models' kernels; None takes REALM_ISA or the processor's best.
    """

    def __init__(self, threads: int = 0, isa: str | None = None) -> None:
        self._threads = EngineConfig(threads=threads).thread_count
        self._instruction_set = instruction_set(isa)
        self._lock = threading.Lock()
        self._by_hash: dict[str, StoredModel] = {}

    def load(self, path: str | Path, name: str | None = None) -> StoredModel:
        """The model in this file; the one already stored when the content is the same.

        Raises GGUFError, ModelError, TokenizerError or NotSupportedError; then nothing is stored.
        """
        with self._lock, open_gguf(path) as file:
            sizes = {model.size_bytes for model in self._by_hash.values()}
            if file.size_bytes in sizes and file.content_hash() in self._by_hash:
                return self._by_hash[file.content_hash()]
            model = self._read(file, name or str(path))
            self._by_hash[model.content_hash] = model
            return model

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
            )

    def by_hash(self, content_hash: str) -> StoredModel:
        """The stored model with this content; ModelNotFoundError when there is none."""
        try:
            return self._by_hash[content_hash]
        except KeyError:
            raise ModelNotFoundError(f"no model with the content {content_hash}") from None
