"""Native core: kernels, thread team, transformer step, sampler."""

import builtins
from collections.abc import Sequence
from typing import Annotated

import numpy
from numpy.typing import NDArray

def dealt_blake3(
    instruction_set: str,
    data: Annotated[
        NDArray[numpy.uint8], dict(shape=(None,), order="C", device="cpu", writable=False)
    ],
) -> bytes: ...

class SideWork:
    def __init__(self) -> None: ...
    def take_most_lent_seconds(self) -> float: ...
    def prepare_memory(self, byte_count: int) -> bool: ...

class Team:
    def __init__(self, size: int, side_work: SideWork | None = None) -> None: ...
    @property
    def size(self) -> int: ...

class Interrupt:
    def __init__(self) -> None: ...
    @property
    def is_set(self) -> bool: ...
    def set(self) -> None: ...
    def clear(self) -> None: ...

class Matrix:
    @property
    def rows(self) -> int: ...
    @property
    def columns(self) -> int: ...
    @property
    def bytes(self) -> int: ...

class CachePool:
    def __init__(self, model: Transformer, page_count: int, precision: str = "float16") -> None: ...
    @property
    def page_bytes(self) -> int: ...
    @property
    def page_count(self) -> int: ...
    def release(self, arg: int, /) -> None: ...
    def copy(self, arg0: int, arg1: int, /) -> None: ...

class Transformer:
    def __init__(
        self,
        *,
        instruction_set: str,
        hidden: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        ffn: int,
        vocabulary: int,
        epsilon: float,
        embedding_scale: float,
        attention_scale: float,
        attention_softcap: float,
        logit_softcap: float,
        residual_scale: float,
        gate: int,
    ) -> None: ...
    def pack(
        self,
        team: Team,
        ggml_type: int,
        data: Annotated[
            NDArray[numpy.uint8], dict(shape=(None,), order="C", device="cpu", writable=False)
        ],
        rows: int,
        columns: int,
    ) -> Matrix: ...
    def add_rope(
        self,
        inverse_frequencies: Annotated[
            NDArray[numpy.float64], dict(shape=(None,), order="C", device="cpu", writable=False)
        ],
        magnitude: float,
        interleaved: bool,
    ) -> None: ...
    def add_layer(
        self,
        *,
        attention_norm: Annotated[
            NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ],
        ffn_norm: Annotated[
            NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ],
        qkv: Sequence[Matrix],
        output: Matrix,
        gate: Matrix,
        up: Matrix,
        down: Matrix,
        rope: int,
        window: int,
        post_attention_norm: Annotated[
            NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ]
        | None = None,
        post_ffn_norm: Annotated[
            NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ]
        | None = None,
        query_norm: Annotated[
            NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ]
        | None = None,
        key_norm: Annotated[
            NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ]
        | None = None,
        qkv_bias: Annotated[
            NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ]
        | None = None,
    ) -> None: ...
    def set_embedding(self, arg: Matrix, /) -> None: ...
    def set_head(
        self,
        matrix: Matrix,
        final_norm: Annotated[
            NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ],
    ) -> None: ...
    def add_feature(self, arg: Matrix, /) -> None: ...
    def step(
        self,
        pool: CachePool,
        team: Team,
        *,
        tokens: Annotated[
            NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ]
        | None = None,
        hidden: Annotated[
            NDArray[numpy.float32],
            dict(shape=(None, None), order="C", device="cpu", writable=False),
        ]
        | None = None,
        page_table: Annotated[
            NDArray[numpy.int32], dict(shape=(None, None), order="C", device="cpu", writable=False)
        ],
        segments: Annotated[
            NDArray[numpy.int32], dict(shape=(None, None), order="C", device="cpu", writable=False)
        ],
        layer_begin: int,
        layer_end: int,
        logit_rows: Annotated[
            NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ],
        sampling_floats: Annotated[
            NDArray[numpy.float32],
            dict(shape=(None, None), order="C", device="cpu", writable=False),
        ]
        | None = None,
        sampling_integers: Annotated[
            NDArray[numpy.int64], dict(shape=(None, None), order="C", device="cpu", writable=False)
        ]
        | None = None,
        history: Annotated[
            NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ]
        | None = None,
        hidden_out: Annotated[
            NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu")
        ]
        | None = None,
        bias_tokens: Annotated[
            NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ]
        | None = None,
        bias_values: Annotated[
            NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ]
        | None = None,
        allowed: Annotated[
            NDArray[numpy.uint32], dict(shape=(None, None), order="C", device="cpu", writable=False)
        ]
        | None = None,
        logprobs: Annotated[
            NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu")
        ]
        | None = None,
        logprob_tokens: Annotated[
            NDArray[numpy.int32], dict(shape=(None, None), order="C", device="cpu")
        ]
        | None = None,
        noise_tokens: Annotated[
            NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ]
        | None = None,
        adapters: Sequence[Adapter] = [],
        adapter_runs: Annotated[
            NDArray[numpy.int32], dict(shape=(None, None), order="C", device="cpu", writable=False)
        ]
        | None = None,
        adapter_weights: Annotated[
            NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ]
        | None = None,
        following: Annotated[
            NDArray[numpy.int32], dict(shape=(None, None), order="C", device="cpu")
        ]
        | None = None,
        last_tokens: Annotated[
            NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ]
        | None = None,
        least_logprob: float = ...,
        interrupt: Interrupt | None = None,
        features: Annotated[
            NDArray[numpy.float32],
            dict(shape=(None, None), order="C", device="cpu", writable=False),
        ]
        | None = None,
        features_out: Annotated[
            NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu")
        ]
        | None = None,
        feature_layers: Sequence[int] = ...,
        drafted: DraftedSteps | None = None,
    ) -> Annotated[NDArray[numpy.int32], dict(shape=(None,))]: ...
    def logits(
        self, begin: int, end: int
    ) -> Annotated[NDArray[numpy.float32], dict(shape=(None, None))]: ...
    @property
    def final_norm(self) -> Annotated[NDArray[numpy.float32], dict(shape=(None,))]: ...
    @property
    def instruction_set(self) -> str: ...
    def page_bytes(self, precision: str = "float16") -> int: ...
    @property
    def step_bytes(self) -> int: ...
    @property
    def weight_bytes(self) -> int: ...

MATCH_TOKENS: int = 16
NEXT_CHANCE: float = 0.5

class TokenIndex:
    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    @property
    def tokens(self) -> list[int]: ...
    def extend(self, tokens: Sequence[int]) -> None: ...
    def truncate(self, length: int) -> None: ...
    def clear(self) -> None: ...
    def find(self, tail: Sequence[int]) -> tuple[int, int] | None: ...

class SequenceTexts:
    def __init__(self, suffix_limit: int, copies_itself: bool, history: TokenIndex) -> None: ...
    def __len__(self) -> int: ...
    @property
    def tokens(self) -> list[int]: ...
    def truncate(self, length: int) -> None: ...
    def extend(self, tokens: list[int]) -> None: ...
    def match(self, tokens: list[int]) -> tuple[int, int]: ...
    def propose(
        self, suffix_chances: Sequence[float], history_chances: Sequence[float], count: int
    ) -> tuple[int, tuple[int, ...], tuple[int, ...]] | None: ...

def plan_drafts(
    survivals: Sequence[Sequence[float]],
    owners: Sequence[int],
    owner_rows: Sequence[int],
    seconds: Sequence[float],
    worth: float,
    least_gain: float,
    least_share: float,
) -> list[int]: ...

class FeatureDraft:
    def __init__(
        self,
        model: Transformer,
        pool: CachePool,
        *,
        page_table: Annotated[
            NDArray[numpy.int32], dict(shape=(None, None), order="C", device="cpu", writable=False)
        ],
        from_target: Annotated[
            NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ]
        | None,
        to_target: Annotated[
            NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ]
        | None,
        sampling_floats: Annotated[
            NDArray[numpy.float32],
            dict(shape=(None, None), order="C", device="cpu", writable=False),
        ],
        sampling_integers: Annotated[
            NDArray[numpy.int64], dict(shape=(None, None), order="C", device="cpu", writable=False)
        ],
        history: Annotated[
            NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ],
        logprobs: Annotated[
            NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu")
        ],
        logprob_tokens: Annotated[
            NDArray[numpy.int32], dict(shape=(None, None), order="C", device="cpu")
        ],
        expected: Annotated[
            NDArray[numpy.float64], dict(shape=(None,), order="C", device="cpu", writable=False)
        ],
        most: int,
        least: float,
        seconds: float,
        feature_parts: Sequence[int] = ...,
    ) -> None: ...

class DraftedSteps:
    def __init__(
        self,
        draft: FeatureDraft | None,
        texts: list[SequenceTexts],
        *,
        sequences: Annotated[
            NDArray[numpy.int32], dict(shape=(None, None), order="C", device="cpu", writable=False)
        ],
        owner_rows: Annotated[
            NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ],
        chances: Annotated[
            NDArray[numpy.float64],
            dict(shape=(None, None, None), order="C", device="cpu", writable=False),
        ],
        seconds: Annotated[
            NDArray[numpy.float64], dict(shape=(None,), order="C", device="cpu", writable=False)
        ],
        most_seconds: float,
        least: float,
        least_gain: float,
        least_share: float,
        sampled: Annotated[
            NDArray[numpy.int32], dict(shape=(None, None, None), order="C", device="cpu")
        ],
        sources: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order="C", device="cpu")],
        drafted: Annotated[
            NDArray[numpy.int32], dict(shape=(None, None, None), order="C", device="cpu")
        ],
        grades: Annotated[
            NDArray[numpy.int32], dict(shape=(None, None, None), order="C", device="cpu")
        ],
        durations: Annotated[NDArray[numpy.float64], dict(shape=(None,), order="C", device="cpu")],
        features: Annotated[
            NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu")
        ],
    ) -> None: ...
    @property
    def drafted_times(self) -> int: ...
    @property
    def draft_steps(self) -> int: ...

class Adapter:
    def __init__(
        self,
        model: Transformer,
        *,
        precision: str,
        factors: Sequence[
            tuple[
                int,
                int,
                Annotated[
                    NDArray[numpy.float32],
                    dict(shape=(None, None), order="C", device="cpu", writable=False),
                ],
                Annotated[
                    NDArray[numpy.float32],
                    dict(shape=(None, None), order="C", device="cpu", writable=False),
                ],
                float,
            ]
        ],
    ) -> None: ...
    @staticmethod
    def load(
        model: Transformer,
        *,
        side_work: SideWork,
        precision: str,
        stored: StoredFactors,
        targets: Annotated[
            NDArray[numpy.int64], dict(shape=(None, None), order="C", device="cpu", writable=False)
        ],
        scales: Annotated[
            NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ],
        descriptor: int,
        given: Annotated[
            NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ]
        | None = None,
    ) -> tuple[Adapter | None, builtins.bytes]: ...
    @property
    def bytes(self) -> int: ...

class StoredFactors:
    def __init__(
        self,
        table: Annotated[
            NDArray[numpy.int64], dict(shape=(None, None), order="C", device="cpu", writable=False)
        ],
        ends: Annotated[
            NDArray[numpy.int64], dict(shape=(None,), order="C", device="cpu", writable=False)
        ],
    ) -> None: ...
    def read(
        self,
        descriptor: int,
        out: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu")],
        given: Annotated[
            NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)
        ]
        | None = None,
    ) -> tuple[tuple[int, int, int], bytes]: ...

PAGE_TOKENS: int = 32

def best_instruction_set() -> str: ...
def can_run(arg: str, /) -> bool: ...
def can_pack(arg: int, /) -> bool: ...
def product(
    instruction_set: str,
    ggml_type: int,
    data: Annotated[
        NDArray[numpy.uint8], dict(shape=(None,), order="C", device="cpu", writable=False)
    ],
    rows: int,
    columns: int,
    values: Annotated[
        NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)
    ],
) -> Annotated[NDArray[numpy.float32], dict(shape=(None, None))]: ...
def unpacked(
    ggml_type: int,
    data: Annotated[
        NDArray[numpy.uint8], dict(shape=(None,), order="C", device="cpu", writable=False)
    ],
    rows: int,
    columns: int,
) -> Annotated[NDArray[numpy.float32], dict(shape=(None, None))]: ...
def rms_norm(
    instruction_set: str,
    values: Annotated[
        NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)
    ],
    weight: Annotated[
        NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)
    ],
    epsilon: float,
) -> Annotated[NDArray[numpy.float32], dict(shape=(None, None))]: ...
def gate(
    instruction_set: str,
    kind: int,
    gates: Annotated[
        NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)
    ],
    ups: Annotated[
        NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)
    ],
) -> Annotated[NDArray[numpy.float32], dict(shape=(None, None))]: ...
def attention(
    instruction_set: str,
    queries: Annotated[
        NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)
    ],
    keys: Annotated[
        NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)
    ],
    values: Annotated[
        NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)
    ],
    first_position: int,
    window: int,
    softcap: float,
    precision: str = "float16",
) -> Annotated[NDArray[numpy.float32], dict(shape=(None, None))]: ...
def sample(
    instruction_set: str,
    logits: Annotated[
        NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)
    ],
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    seed: int,
    position: int,
    *,
    typical_p: float = 1.0,
    penalties: Annotated[
        NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)
    ]
    | None = None,
    history: Annotated[
        NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)
    ]
    | None = None,
    prompt_count: int = 0,
    bias_tokens: Annotated[
        NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)
    ]
    | None = None,
    bias_values: Annotated[
        NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)
    ]
    | None = None,
    allowed: Annotated[
        NDArray[numpy.uint32], dict(shape=(None,), order="C", device="cpu", writable=False)
    ]
    | None = None,
    logprobs: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu")]
    | None = None,
    logprob_tokens: Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu")]
    | None = None,
) -> int: ...
def measure_bandwidth(threads: int, bytes: int) -> float: ...
def measure_products(instruction_set: str, threads: int) -> float: ...
