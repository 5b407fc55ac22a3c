"""One model in memory: weights, vocabulary and what its file says of itself.

A stored model is never changed after it is made. It holds no session and no cache of a tenant.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from realm.config import CachePrecision
from realm.errors import (
    AdapterMismatchError,
    AdapterNotFoundError,
    ConfigError,
    ContextLengthError,
    NativeError,
    RequestError,
)
from realm.gguf import MetadataValue
from realm.kernels import PAGE_TOKENS, CachePool, SideWork, Team, Transformer, rms_norm
from realm.lora import Adapter, AdapterBase, AdapterFile, LoRAManager
from realm.model.hyperparameters import Hyperparameters, feature_parts
from realm.model.packed_adapter import (
    AdapterPrecision,
    PackedAdapter,
    WeightedAdapter,
    adapter_rows,
    pack_adapter,
    pack_adapter_file,
)
from realm.model.tokenizer import Tokenizer

Pooling = Literal["mean", "last"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)

_EVALUATION_ROWS = 256
_EVALUATION_LOGIT_BYTES = 64 << 20
_FEATURE_ROWS = 64


@dataclass(frozen=True, eq=False)
class StoredModel:
    """A model that sessions of many tenants share.

    name: what it was loaded as. content_hash: SHA-256 of the file, its identity.
    adapter_base: what adapters must fit. adapters: where their names are looked up.
    step_lock: held by whoever runs a step of `native`; its work space is one.
    """

    name: str
    path: Path
    content_hash: str
    hyperparameters: Hyperparameters
    tokenizer: Tokenizer
    native: Transformer
    metadata: Mapping[str, MetadataValue] = field(repr=False)
    tensor_count: int
    size_bytes: int
    threads: int
    adapter_base: AdapterBase = field(repr=False)
    adapters: LoRAManager | None = field(default=None, repr=False)
    step_lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def chat_template(self) -> str | None:
        """The chat template's source, when the file has one."""
        template = self.metadata.get("tokenizer.chat_template")
        return template if isinstance(template, str) else None

    @property
    def bytes_per_token(self) -> int:
        """Bytes of weights that one decode step reads."""
        return self.native.step_bytes

    def metadata_json(self) -> str:
        """What a guest may know of the model, as JSON: architecture, sizes, vocabulary facts."""
        h, t = self.hyperparameters, self.tokenizer
        return json.dumps(
            {
                "name": self.name,
                "architecture": h.architecture,
                "layer_count": h.layer_count,
                "hidden_size": h.hidden_size,
                "head_count": h.head_count,
                "kv_head_count": h.kv_head_count,
                "head_size": h.head_size,
                "feed_forward_size": h.feed_forward_size,
                "vocabulary_size": h.vocabulary_size,
                "context_length": h.context_length,
                "bos_id": t.bos_id,
                "eos_id": t.eos_id,
                "end_of_generation_ids": sorted(t.end_of_generation_ids),
                "add_bos": t.add_bos,
                "chat_template": self.chat_template,
            },
            ensure_ascii=False,
            separators=(",", ":"),
        )

    def embed(
        self, token_ids: Sequence[int], adapters: Sequence[WeightedAdapter] = ()
    ) -> NDArray[np.float32]:
        """Embeddings as the first layer takes them: float32 [tokens, hidden]."""
        ids = self._checked(token_ids)
        out = np.empty((len(ids), self.hyperparameters.hidden_size), np.float32)
        with self.step_lock:
            self._evaluator.step(tokens=ids, layers=(0, 0), hidden_out=out, adapters=adapters)
        return out

    def pack_adapter(self, adapter: Adapter, precision: AdapterPrecision = "int8") -> PackedAdapter:
        """An adapter for this model as the engine takes it. Raises AdapterMismatchError for numbers
        that the precision cannot hold."""
        try:
            return pack_adapter(self.native, self.content_hash, adapter, precision)
        except NativeError as error:
            raise AdapterMismatchError(f"cannot be packed: {error}") from None

    def pack_adapter_file(
        self,
        file: AdapterFile,
        side_work: SideWork,
        precision: AdapterPrecision = "int8",
    ) -> PackedAdapter:
        """As `pack_adapter`, straight from the adapter's file, by the threads that do this side
        work. Raises the AdapterError of `AdapterFile.read` as well."""
        try:
            return pack_adapter_file(self.native, self.content_hash, file, side_work, precision)
        except NativeError as error:
            raise AdapterMismatchError(f"cannot be packed: {error}") from None

    def logits(
        self,
        token_ids: Sequence[int],
        adapter: str | Sequence[WeightedAdapter] | None = None,
        *,
        cache_precision: CachePrecision = "float16",
    ) -> NDArray[np.float32]:
        """Logits after every token of one text: float32 [tokens, vocabulary].

        adapter: a name that every tenant may use (AdapterError when it cannot be loaded), or
        adapters packed for this model, added in order. cache_precision: as of EngineConfig.
        Raises RequestError for ids out of the vocabulary or none, ContextLengthError for more
        tokens than the model's context. Memory: 4 bytes a logit.
        """
        if not isinstance(adapter, str):
            return self._logits(token_ids, adapter or (), cache_precision)
        if self.adapters is None:
            raise AdapterNotFoundError(
                f"no adapter {adapter!r}: the model has no adapters' manager"
            )
        use = self.adapters.request(adapter, self.content_hash)
        try:
            packed = use.ready.result()
            assert isinstance(packed, PackedAdapter)
            return self._logits(token_ids, (WeightedAdapter(packed),), cache_precision)
        finally:
            use.release()

    def _logits(
        self,
        token_ids: Sequence[int],
        adapters: Sequence[WeightedAdapter],
        cache_precision: CachePrecision,
    ) -> NDArray[np.float32]:
        ids = self._checked(token_ids)
        out = np.empty((len(ids), self.hyperparameters.vocabulary_size), np.float32)
        pages = -(-len(ids) // PAGE_TOKENS)
        evaluation = _Evaluator(self.native, self.threads, pages, cache_precision)
        row_bytes = 4 * self.hyperparameters.vocabulary_size
        step = max(1, min(_EVALUATION_ROWS, _EVALUATION_LOGIT_BYTES // row_bytes))
        with self.step_lock:
            for begin in range(0, len(ids), step):
                chunk = ids[begin : begin + step]
                rows = np.arange(len(chunk), dtype=np.int32)
                layers = (0, self.hyperparameters.layer_count)
                evaluation.step(
                    tokens=chunk,
                    position=begin,
                    layers=layers,
                    logit_rows=rows,
                    adapters=adapters,
                )
                out[begin : begin + len(chunk)] = self.native.logits(0, len(chunk))
        return out

    def embed_text(
        self, token_ids: Sequence[int], pooling: Pooling = "mean", normalize: bool = True
    ) -> NDArray[np.float32]:
        """One vector for a text: float32 [hidden].

        Pools what `features` gives. pooling: 'mean' of all tokens, in float64, or the 'last' one.
        normalize: to length 1; a zero vector stays zero. Raises ConfigError for another pooling,
        RequestError and ContextLengthError for the tokens.
        """
        if pooling not in POOLINGS:
            raise ConfigError(f"pooling must be one of {', '.join(POOLINGS)}, not {pooling!r}")
        normed = self.features(token_ids)
        if pooling == "last":
            normed = normed[-1:]
        vector: NDArray[np.float64] = normed.mean(axis=0, dtype=np.float64)
        length = float(np.linalg.norm(vector)) if normalize else 1.0
        return (vector / length if length > 0.0 else vector).astype(np.float32)

    def features(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """What the head would multiply after every token of one text: float32 [tokens, hidden].

        The last layer's output after the final norm (the native kernel's, row by row). Raises
        RequestError and ContextLengthError for the tokens.
        """
        ids = self._checked(token_ids)
        hidden = np.empty((len(ids), self.hyperparameters.hidden_size), np.float32)
        evaluation = _Evaluator(self.native, self.threads, -(-len(ids) // PAGE_TOKENS))
        layers = (0, self.hyperparameters.layer_count)
        for begin in range(0, len(ids), _EVALUATION_ROWS):
            end = min(begin + _EVALUATION_ROWS, len(ids))
            with self.step_lock:  # others' steps come between those of a long text
                evaluation.step(
                    tokens=ids[begin:end],
                    position=begin,
                    layers=layers,
                    hidden_out=hidden[begin:end],
                )
        return rms_norm(
            self.native.instruction_set,
            hidden,
            self.native.final_norm,
            self.hyperparameters.epsilon,
        )

    def draft_features(
        self, token_ids: Sequence[int], layers: Sequence[int]
    ) -> NDArray[np.float32]:
        """What a draft reads that goes on after each token of one text: float32 [tokens, parts,
        hidden].

        `features`, then what the attention of these different layers multiplied. Raises
        RequestError and ContextLengthError for the tokens, NativeError for the layers.
        """
        ids, ordered = self._checked(token_ids), sorted(layers)
        parts = (1 + len(layers), self.hyperparameters.hidden_size)
        out = np.empty((len(ids), *parts), np.float32)
        evaluation = _Evaluator(self.native, self.threads, -(-len(ids) // PAGE_TOKENS))
        for begin in range(0, len(ids), _FEATURE_ROWS):
            some = ids[begin : begin + _FEATURE_ROWS]
            with self.step_lock:
                evaluation.step(
                    tokens=some,
                    position=begin,
                    layers=(0, self.hyperparameters.layer_count),
                    logit_rows=np.arange(len(some), dtype=np.int32),
                    features_out=out[begin : begin + len(some)].reshape(len(some), -1),
                    feature_layers=ordered,
                )
        return out[:, feature_parts(layers, ordered)]

    def compute_logits(
        self, hidden: NDArray[np.float32], adapters: Sequence[WeightedAdapter] = ()
    ) -> NDArray[np.float32]:
        """Final norm and head on one row: float32 [hidden] to float32 [vocabulary]."""
        row = np.ascontiguousarray(hidden, np.float32).reshape(1, -1)
        with self.step_lock:
            first = np.zeros(1, np.int32)
            self._evaluator.step(hidden=row, layers=(0, 0), logit_rows=first, adapters=adapters)
            logits: NDArray[np.float32] = self.native.logits(0, 1)[0]
        return logits

    @cached_property
    def _evaluator(self) -> _Evaluator:
        return _Evaluator(self.native, 1, 1)

    def _checked(self, token_ids: Sequence[int]) -> NDArray[np.int32]:
        limit = self.hyperparameters.context_length
        if not len(token_ids):
            raise RequestError("there are no tokens")
        if len(token_ids) > limit:
            raise ContextLengthError(f"{len(token_ids)} tokens exceed the context of {limit}")
        ids = np.asarray(token_ids, np.int64)
        vocabulary = self.hyperparameters.vocabulary_size
        wrong = np.flatnonzero((ids < 0) | (ids >= vocabulary))
        if wrong.size:
            at = int(wrong[0])
            raise RequestError(
                f"token id {int(ids[at])} at index {at} is outside of 0..{vocabulary - 1}"
            )
        return ids.astype(np.int32)


class _Evaluator:
    """A cache of its own and a team, for one text outside of any session."""

    def __init__(
        self,
        native: Transformer,
        threads: int,
        pages: int,
        cache_precision: CachePrecision = "float16",
    ) -> None:
        self._native = native
        self._team = Team(threads)
        self._pool = CachePool(native, pages, cache_precision)
        self._table = np.arange(pages, dtype=np.int32).reshape(1, pages)

    def step(
        self,
        *,
        layers: tuple[int, int],
        tokens: NDArray[np.int32] | None = None,
        hidden: NDArray[np.float32] | None = None,
        position: int = 0,
        logit_rows: NDArray[np.int32] | None = None,
        hidden_out: NDArray[np.float32] | None = None,
        adapters: Sequence[WeightedAdapter] = (),
        features_out: NDArray[np.float32] | None = None,
        feature_layers: Sequence[int] = (),
    ) -> None:
        rows = tokens if tokens is not None else hidden
        count = 0 if rows is None else len(rows)
        added = adapter_rows([(count, adapters)])
        self._native.step(
            self._pool,
            self._team,
            tokens=tokens,
            hidden=hidden,
            page_table=self._table,
            segments=np.array([[0, position, count]], np.int32),
            layer_begin=layers[0],
            layer_end=layers[1],
            logit_rows=np.empty(0, np.int32) if logit_rows is None else logit_rows,
            hidden_out=hidden_out,
            features_out=features_out,
            feature_layers=feature_layers,
            adapters=added.natives,
            adapter_runs=added.runs,
            adapter_weights=added.weights,
        )
