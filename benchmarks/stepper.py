"""Native steps of one model and nothing around them, timed."""

from __future__ import annotations

import statistics
import time

import numpy as np

from realm.config import CachePrecision
from realm.kernels import PAGE_TOKENS, CachePool, Team
from realm.model import AdapterRows, StoredModel, adapter_rows

NO_ADAPTERS = adapter_rows([])
WARM_UP_STEPS = 2


class Stepper:
    """Steps of one token for each of `batch` sequences at position `context`; all give logits."""

    def __init__(
        self,
        model: StoredModel,
        batch: int,
        context: int,
        threads: int,
        cache_precision: CachePrecision = "float16",
    ) -> None:
        pages = context // PAGE_TOKENS + 1
        self._native = model.native
        self._layers = model.hyperparameters.layer_count
        self._team = Team(threads)
        self._pool = CachePool(model.native, batch * pages, cache_precision)
        # What was never written is one page of zeros to the system, however much of it is read.
        for page in range(1, batch * pages):
            self._pool.copy(0, page)
        self._table = np.arange(batch * pages, dtype=np.int32).reshape(batch, pages)
        self._tokens = np.arange(100, 100 + batch, dtype=np.int32)
        self._segments = np.array([[row, context, 1] for row in range(batch)], np.int32)
        self._rows = np.arange(batch, dtype=np.int32)

    def median_seconds(self, steps: int, *added: AdapterRows) -> list[float]:
        """Of `steps` steps with each of these, in turns, after two of each that do not count."""
        seconds = [[self._seconds(each) for each in added] for _ in range(WARM_UP_STEPS + steps)]
        return [statistics.median(each) for each in zip(*seconds[WARM_UP_STEPS:], strict=True)]

    def _seconds(self, added: AdapterRows) -> float:
        started = time.perf_counter()
        self._native.step(
            self._pool,
            self._team,
            tokens=self._tokens,
            page_table=self._table,
            segments=self._segments,
            layer_begin=0,
            layer_end=self._layers,
            logit_rows=self._rows,
            adapters=added.natives,
            adapter_runs=added.runs,
            adapter_weights=added.weights,
        )
        return time.perf_counter() - started
