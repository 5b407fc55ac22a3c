"""A runtime without a model: answers are scripted, every token is one character.

It has the surface of `realm.runtime` that the commands use, and nothing else.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np

from realm.catalog import Catalog
from realm.cli.context import Context
from realm.cli.main import main
from realm.config import ModelConfig
from realm.engine import SpeculationMetrics, TokenLogprobs
from realm.errors import ContextLengthError


@dataclass(frozen=True)
class Timings:
    prompt_tokens: int
    completion_tokens: int
    queue_seconds: float = 0.001
    load_seconds: float = 0.2
    prefill_seconds: float = 0.5
    decode_seconds: float = 0.25
    first_token_seconds: float = 0.6
    guest_seconds: float = 0.01
    native_seconds: float = 0.7
    total_seconds: float = 0.8


@dataclass(frozen=True)
class Result:
    text: str
    token_ids: tuple[int, ...]
    prompt_token_ids: tuple[int, ...]
    finish_reason: str
    timings: Timings
    logprobs: tuple | None = None
    response: bytes | None = None


@dataclass(frozen=True)
class Piece:
    text: str
    token_ids: tuple[int, ...]


class Stream:
    def __init__(self, result, interrupt_after):
        self.result = result
        self._interrupt_after = interrupt_after

    def __iter__(self):
        for index, character in enumerate(self.result.text):
            if index == self._interrupt_after:
                raise KeyboardInterrupt
            yield Piece(character, (ord(character),))


class Tenant:
    def __init__(self, name, runtime):
        self.name = name
        self.runtime = runtime

    def generate(self, prompt=None, *, messages=None, token_ids=None, max_tokens=256, **options):
        self.runtime.requests.append(
            {"tenant": self.name, "prompt": prompt, "token_ids": token_ids, **options}
            | {"messages": None if messages is None else list(messages), "max_tokens": max_tokens}
        )
        asked = prompt if prompt is not None else str(messages)
        prompt_ids = tuple(token_ids) if token_ids is not None else tuple(map(ord, asked))
        if len(prompt_ids) > self.runtime.context_length:
            raise ContextLengthError(f"{len(prompt_ids)} tokens\ndo not fit")
        text = "x" * max_tokens if options.get("ignore_eos") else self.runtime.answer_of(self.name)
        timings = Timings(len(prompt_ids), len(text))
        ids = tuple(map(ord, text))
        logprobs = None
        if options.get("logprobs") is not None:
            logprobs = tuple(TokenLogprobs(token, -1.5, ((token, -1.5),)) for token in ids)
        return Result(text, ids, prompt_ids, "stop", timings, logprobs)

    def stream(self, prompt=None, **options):
        return Stream(self.generate(prompt, **options), self.runtime.interrupt_after)


class Tokenizer:
    add_bos = True
    bos_id = 1

    def encode(self, text, *, add_special=True):
        return [self.bos_id] * add_special + [2 + ord(character) % 6 for character in text]


class Model:
    tokenizer = Tokenizer()
    size_bytes = 98_000_000
    bytes_per_token = 96_000_000

    def embed_text(self, token_ids, pooling="mean", normalize=True):
        vector = np.array([len(token_ids), token_ids[-1], pooling == "last"], np.float32)
        return vector / np.linalg.norm(vector) if normalize else vector

    def logits(self, token_ids, adapter=None, *, cache_precision="float16"):
        logits = np.zeros((len(token_ids), 8), dtype=np.float32)
        logits[:, -1] = cache_precision == "int8"
        return logits


@dataclass(frozen=True)
class TenantMetrics:
    speculation: SpeculationMetrics


@dataclass(frozen=True)
class AdapterStatus:
    name: str
    resident_bytes: int = 900_000


@dataclass
class Adapters:
    """error: what loading any adapter raises."""

    error: Exception | None = None
    paths: dict = field(default_factory=dict)

    def load(self, name, path, tenant=None):
        if self.error is not None:
            raise self.error
        self.paths[name] = path
        return AdapterStatus(name)


@dataclass
class FakeRuntime:
    """answers: one for each generation, the last one again and again.

    voices: what tenants with an adapter of this name answer instead. configurations: by tenant.
    draft_error: what a configuration with a draft raises. speculation: of every tenant.
    """

    answers: list[str] = field(default_factory=lambda: ["Paris."])
    interrupt_after: int | None = None
    context_length: int = 10_000
    requests: list[dict] = field(default_factory=list)
    models: dict[str, Model] = field(default_factory=dict)
    threads: int | None = None
    program: bytes | None = None
    limits: object = None
    closed: bool = False
    lora: Adapters = field(default_factory=Adapters)
    tenant_adapters: dict[str, str] = field(default_factory=dict)
    configurations: dict[str, ModelConfig] = field(default_factory=dict)
    draft_error: Exception | None = None
    speculation: SpeculationMetrics = field(default_factory=SpeculationMetrics)
    voices: dict[str, str] = field(
        default_factory=lambda: {"pirate": "Arr!", "json": "{}", "sql": "SELECT 1;"}
    )

    def open(self, configuration, *, program=None, limits=None, host_limits=None):
        self.threads = configuration.threads
        self.cache_precision = configuration.cache_precision
        self.program = program
        self.limits = limits
        self.host_limits = host_limits
        return self

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.closed = True

    def get_or_create_runtime_with_model(self, tenant_id, configuration):
        if configuration.draft_model_path is not None and self.draft_error is not None:
            raise self.draft_error
        self.configurations[tenant_id] = configuration
        self.models[configuration.name] = Model()
        return Tenant(tenant_id, self)

    def metrics(self):
        return {name: TenantMetrics(self.speculation) for name in self.configurations}

    def set_tenant_lora_adapter(self, tenant_id, name):
        self.tenant_adapters[tenant_id] = name

    def answer_of(self, tenant_id):
        voice = self.voices.get(self.tenant_adapters.get(tenant_id))
        return self.next_answer() if voice is None else voice

    def next_answer(self):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@dataclass
class Outcome:
    code: int
    stdout: str
    stderr: str


def run_command(words, runtime, directory, *, stdin="", terminal=False, sources=None):
    """Run one command on the fakes and gather what it wrote."""
    stream = Terminal if terminal else io.StringIO
    context = Context(
        stdin=stream(stdin),
        stdout=stream(),
        stderr=stream(),
        open_runtime=runtime.open,
        open_catalog=lambda chosen: Catalog(chosen or directory, sources),
        measure_bandwidth=lambda threads: 10e9 * threads,
        instruction_set=lambda: "fake",
    )
    code = main([str(word) for word in words], context)
    return Outcome(code, context.stdout.getvalue(), context.stderr.getvalue())
