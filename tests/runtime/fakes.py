"""A host without a model: scripted tokens, a guest that is only memory, a clock that is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np

from realm.config import GenerationOptions, SamplingParameters
from realm.engine import StepOutput
from realm.errors import (
    CapacityError,
    ContextLengthError,
    GGUFMagicError,
    RealmError,
    TokenizerError,
)
from realm.kernels import Interrupt
from realm.lora import LoRAManager
from realm.model.tokenizer.stream import PieceReader, StreamDecoder
from realm.runtime.account import TenantAccount
from realm.runtime.guest_memory import GuestMemory
from realm.runtime.guest_state import GuestState, Surroundings
from realm.runtime.held_adapters import RequestAdapters
from realm.runtime.hosted_model import HostedModel
from realm.runtime.limits import GuestLimits, TenantLimits
from realm.runtime.request_constraint import RequestConstraint
from realm.runtime.services import TenantServices
from realm.runtime.state_store import MemoryStateStore
from realm.runtime.tenant_drafts import TenantDrafts
from realm.runtime.workers import Work
from realm.session import InferenceSession
from realm.session.constraint import ConstraintCompiler

VOCABULARY = 300
HIDDEN = 8
LAYERS = 2
END = 299
CONTEXT = 2000
PAGE_BYTES = 100


class FakeTokenizer:
    """Every byte is its own token; 256.. are control tokens."""

    vocabulary_size = VOCABULARY
    bos_id = 256
    eos_id = END
    end_of_generation_ids = frozenset({END})

    def encode(self, text, *, add_special=True, parse_special=False):
        if "\ud800" in text:
            raise TokenizerError("a lone surrogate")
        ids = [self.bos_id] if add_special else []
        for part in text.split("<bos>") if parse_special else [text]:
            ids += [*part.encode(), self.bos_id]
        return ids[:-1]

    def token_bytes(self, token_id):
        return bytes([token_id]) if token_id < 256 else b"<bos>"

    def stream(self, *, skip_special=True, continuation=False):
        reader = PieceReader(
            self.token_bytes,
            lambda token_id: token_id >= 256,
            drops_space=False,
            skip_special=skip_special,
            continuation=continuation,
        )
        return StreamDecoder(reader)

    def decode_bytes(self, ids, *, skip_special=False, continuation=False):
        return b"".join(self.token_bytes(i) for i in ids if i < 256 or not skip_special)


class FakeModel:
    name = "fake"
    content_hash = "00"
    tensor_count = 7
    size_bytes = 1 << 40
    chat_template = "{% for m in messages %}<bos>{{ m.role }}: {{ m.content }}{% endfor %}"
    native = SimpleNamespace(page_bytes=lambda precision: PAGE_BYTES)
    hyperparameters = SimpleNamespace(
        vocabulary_size=VOCABULARY, hidden_size=HIDDEN, layer_count=LAYERS, context_length=CONTEXT
    )

    def __init__(self):
        self.tokenizer = FakeTokenizer()

    def embed(self, ids, adapters=()):
        return np.repeat(np.asarray(ids, np.float32)[:, None], HIDDEN, axis=1)

    def compute_logits(self, hidden, adapters=()):
        return np.arange(VOCABULARY, dtype=np.float32) + hidden.sum()

    def metadata_json(self):
        return '{"note":"\\"end_of_generation_ids\\":[1]","end_of_generation_ids":[299]}'


@dataclass
class FakeSequence:
    owner: str
    tokens: list[int] = field(default_factory=list)
    prompt_count: int = 0


class FakeEngine:
    """script: the tokens that samples give, in order, then END for ever; None: each sequence
    repeats its prompt after the first token, then END.

    capacity: tokens that all sequences may hold together. sampled: the policies asked for.
    """

    def __init__(self, script: bytes | list[int] | None = b"", capacity: int = 10_000) -> None:
        self.script = None if script is None else list(script)
        self.capacity = capacity
        self.sequences: dict[int, FakeSequence] = {}
        self.waiting: dict[int, str] = {}
        self.sampled: list[SamplingParameters] = []
        self.fail_step: Exception | None = None
        self.on_step: Callable[[], None] = lambda: None
        self.answer_error: RealmError | None = None
        self.interrupt = Interrupt()
        self._next = 1

    @property
    def has_work(self):
        return bool(self.waiting)

    def open(self, model, owner, priority=0, adapters=(), *, draft_k=None, draft=None):
        self._next += 1
        self.sequences[self._next] = FakeSequence(owner)
        return self._next

    def append(self, sequence, token_ids):
        tokens = self.sequences[sequence].tokens
        if len(tokens) + len(token_ids) > CONTEXT:
            raise ContextLengthError("the context is full")
        if sum(len(s.tokens) for s in self.sequences.values()) + len(token_ids) > self.capacity:
            raise CapacityError("no pages")
        tokens += token_ids
        self.sequences[sequence].prompt_count = len(tokens)

    def sample(self, sequence, sampling, allowed=None, masks_after=None, *, more=0):
        if len(self.sequences[sequence].tokens) + 1 > CONTEXT:
            raise ContextLengthError("the context is full")
        self.sampled.append(sampling)
        self.waiting[sequence] = "token"

    def logits(self, sequence):
        assert sequence in self.sequences
        self.waiting[sequence] = "logits"

    def take_known(self, sequence):
        return None

    def position(self, sequence):
        return len(self.sequences[sequence].tokens)

    def rewind(self, sequence, position):
        del self.sequences[sequence].tokens[position:]

    def fork(self, sequence):
        copy = self.open(None, self.sequences[sequence].owner)
        self.sequences[copy].tokens = list(self.sequences[sequence].tokens)
        return copy

    def close(self, sequence):
        del self.sequences[sequence]
        self.waiting.pop(sequence, None)

    def forward_layers(self, calls):
        assert all(call.sequence in self.sequences for call in calls)
        return [call.hidden * 2 + call.layer for call in calls]

    def step(self):
        self.on_step()
        if self.fail_step is not None:
            raise self.fail_step
        outputs = []
        for sequence, wanted in list(self.waiting.items()):
            del self.waiting[sequence]
            if self.answer_error is not None:
                outputs.append(StepOutput(sequence, error=self.answer_error))
            elif wanted == "logits":
                outputs.append(StepOutput(sequence, logits=np.arange(VOCABULARY, dtype=np.float32)))
            else:
                token = self._next_token(self.sequences[sequence])
                self.sequences[sequence].tokens.append(token)
                outputs.append(StepOutput(sequence, (token,)))
        return outputs

    def _next_token(self, sequence):
        if self.script is not None:
            return self.script.pop(0) if self.script else END
        place = 1 + len(sequence.tokens) - sequence.prompt_count
        return sequence.tokens[place] if place < sequence.prompt_count else END


class FakeGuest:
    """A parked guest that is nothing but memory."""

    def __init__(self, size: int = 4096) -> None:
        self.memory = bytearray(size)

    def contains(self, pointer, length):
        return pointer >= 0 and length >= 0 and pointer + length <= len(self.memory)

    def read(self, pointer, length):
        assert self.contains(pointer, length)
        return bytes(self.memory[pointer : pointer + length])

    def write(self, pointer, data):
        data = memoryview(data).cast("B") if len(data) else b""
        assert self.contains(pointer, len(data))
        self.memory[pointer : pointer + len(data)] = data


@dataclass
class Bench:
    """Host functions on a table: a state, the memory beneath it, and what came out."""

    guest: FakeGuest
    state: GuestState
    engine: FakeEngine
    pieces: list
    logged: list
    clock: list[float]
    room: list[bool]
    account: TenantAccount


class InlineWorkers:
    """Workers that do everything at once, on the caller's thread."""

    def submit(self, owner, action, on_done, discard=None, share=None):
        work = Work(owner, action, on_done, discard, share)
        work.run()
        return work

    def close(self, wait_seconds=None):
        pass


class FakeGuestModels:
    """Stores anything but nothing; remembers what is held."""

    def __init__(self):
        self.held = []

    def store(self, parts):
        if not b"".join(parts).startswith(b"GGUF"):
            raise GGUFMagicError("not a GGUF file")
        self.held.append(HostedModel("guest", FakeModel(), 0.0))
        return self.held[-1]

    def release(self, model):
        self.held.remove(model)


def make_services(account: TenantAccount | None = None, **changes) -> TenantServices:
    """Everything a tenant may reach, at hand and without threads."""
    services = TenantServices(
        account=account if account is not None else TenantAccount("tenant", TenantLimits()),
        state=MemoryStateStore(),
        guest_models=FakeGuestModels(),
        constraints=ConstraintCompiler(),
        workers=InlineWorkers(),
        tool_workers=InlineWorkers(),
        tools={},
        drafts=TenantDrafts(),
    )
    return replace(services, **changes)


def make_bench(
    script: bytes = b"",
    limits: GuestLimits | None = None,
    capacity: int = 10_000,
    tenant_limits: TenantLimits | None = None,
    memory_bytes: int = 4096,
    **services,
) -> Bench:
    guest, engine = FakeGuest(memory_bytes), FakeEngine(script, capacity)
    account = TenantAccount(
        "tenant", tenant_limits if tenant_limits is not None else TenantLimits()
    )
    options = GenerationOptions(max_tokens=5, sampling=SamplingParameters(seed=9))
    model = HostedModel("fake", FakeModel(), 0.5)
    pieces: list = []
    logged: list = []
    clock, room = [0.0], [True]

    def put_piece(piece):
        if room[0]:
            pieces.append(piece)
        return room[0]

    surroundings = Surroundings(
        engine=engine,
        models={"fake": model},
        tenant_id="tenant",
        options=options,
        limits=limits if limits is not None else GuestLimits(sessions=3, models=2),
        put_piece=put_piece,
        log=lambda level, text: logged.append((level, text)),
        now=lambda: clock[0],
        seed=b"seed",
        adapters=RequestAdapters(LoRAManager(0), "tenant", model, None),
        make_session=lambda handle, ids, options, constraint: InferenceSession(
            engine, handle.model.stored, ids, options, "tenant", constraint=constraint
        ),
        constraint=RequestConstraint(ConstraintCompiler(), options, model, None),
        services=make_services(account, **services),
        wake=lambda: None,
    )
    state = GuestState(surroundings, GuestMemory(guest))
    return Bench(guest, state, engine, pieces, logged, clock, room, account)
