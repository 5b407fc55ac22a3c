"""How much of the machine the engine takes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Literal, get_args

from realm.config.speculation import SpeculativeConfig
from realm.errors import ConfigError

CachePrecision = Literal["float16", "int8"]


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Limits of one engine.

    threads: size of the native thread team; 0 takes every processor this process may run on.
    cache_bytes: address space for cache pages; memory is used only as pages fill.
    cache_precision: how keys and values are held; 'int8' takes little more than half of the bytes
        of 'float16', and other bits come out.
    adapter_bytes: memory for adapters; more may be registered than fit.
    context_length: most tokens of one session; 0 takes what the model was trained for.
    step_tokens: most rows of one forward step.
    prefill_chunk_tokens: most rows of one session's prompt in a step while others decode.
    step_seconds: how long a step may take while a session decodes; prompts get what is left of it.
    joined_seconds: how long one native call may take that computes several steps of decode rows;
        it ends sooner when somebody else wants something. 0 for one step in each.
    prefix_cache: keep pages of ended sessions for the same owner's texts that begin alike.
    crowding: part of their speed that others may lose because one owner decodes far more texts at
        once than most do; 1 lets it.
    displacement_tokens: how far ahead of a waiting owner another must be to lose pages to it.
    speculation: whether and what is drafted; it never changes a text.
    """

    threads: int = 0
    cache_bytes: int = 2 << 30
    cache_precision: CachePrecision = "float16"
    adapter_bytes: int = 1 << 30
    context_length: int = 0
    step_tokens: int = 512
    prefill_chunk_tokens: int = 256
    step_seconds: float = 0.05
    joined_seconds: float = 0.06
    prefix_cache: bool = True
    crowding: float = 0.05
    displacement_tokens: int = 4096
    speculation: SpeculativeConfig = field(default_factory=SpeculativeConfig)

    def __post_init__(self) -> None:
        if self.threads < 0 or self.threads > 1024:
            raise ConfigError(f"threads must be in 0..1024, not {self.threads}")
        if self.cache_bytes <= 0:
            raise ConfigError(f"cache_bytes must be > 0, not {self.cache_bytes}")
        if self.cache_precision not in get_args(CachePrecision):
            raise ConfigError(f"cache_precision is float16 or int8, not {self.cache_precision!r}")
        if self.adapter_bytes < 0:
            raise ConfigError(f"adapter_bytes must be >= 0, not {self.adapter_bytes}")
        if self.context_length < 0:
            raise ConfigError(f"context_length must be >= 0, not {self.context_length}")
        if not 0 < self.prefill_chunk_tokens <= self.step_tokens <= 4096:
            raise ConfigError(
                "0 < prefill_chunk_tokens <= step_tokens <= 4096 must hold, not "
                f"{self.prefill_chunk_tokens} and {self.step_tokens}"
            )
        if not 0.0 < self.step_seconds < float("inf"):
            raise ConfigError(f"step_seconds must be a number > 0, not {self.step_seconds}")
        if not 0.0 <= self.joined_seconds < float("inf"):
            raise ConfigError(f"joined_seconds must be a number >= 0, not {self.joined_seconds}")
        if not 0.0 <= self.crowding <= 1.0:
            raise ConfigError(f"crowding must be in 0..1, not {self.crowding}")
        if self.displacement_tokens < 1:
            raise ConfigError(f"displacement_tokens must be >= 1, not {self.displacement_tokens}")

    @property
    def thread_count(self) -> int:
        """Threads the team will have."""
        return self.threads or len(os.sched_getaffinity(0))
