"""Where hostile programs run: a real engine, its loop, and tenants with programs of their own."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from attacks.programs.adapters import HOSTILE, GroundAdapters
from attacks.programs.attack import GROUND_LIMITS, ProgramAttack
from attacks.programs.modules import MODEL_NAME, program
from realm.config import EngineConfig, ModelConfig
from realm.engine import Engine
from realm.errors import GuestLimitError, RealmError
from realm.lora import LoRAManager
from realm.model import ModelStorage
from realm.runtime import GenerationResult, GuestLimits, HostLimits, TenantRuntime
from realm.runtime.guest_models import GuestModels
from realm.runtime.hosted_model import HostedModel
from realm.runtime.loop import EngineLoop
from realm.runtime.policy import TenantPolicy
from realm.runtime.program import GuestHost, GuestProgram, default_program
from realm.runtime.state_store import MemoryStateStore
from realm.runtime.tenant import RuntimeParts
from realm.runtime.tenant_record import TenantRecord
from realm.runtime.workers import Workers
from realm.session.constraint import ConstraintCompiler

HONEST_COUNT = 8
GROUND_HOST_LIMITS = HostLimits(guest_count=24, memory_bytes=4 << 20, compile_seconds=0.5)


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What should be the same before and after an attack.

    sequences: open ones. free_pages: of the cache, as far as nobody keeps a prefix in them.
    free_guests: slots of the pool. maps: memory maps of the process. adapter_uses: holders of
    adapters, and those who wait for one.
    """

    sequences: int
    free_pages: int | None
    free_guests: int
    maps: int
    adapter_uses: int


class Ground:
    """A context manager. The model is offered to every tenant as `MODEL_NAME`.

    adapter_folder: where the ground's adapters are made; without one there are none.
    """

    def __init__(
        self,
        model_path: Path,
        *,
        threads: int = 2,
        cache_bytes: int = 64 << 20,
        host_limits: HostLimits = GROUND_HOST_LIMITS,
        adapter_folder: Path | None = None,
    ) -> None:
        now = time.perf_counter
        # No cache on the disk: hostile programs leave nothing there either.
        self.host = GuestHost(host_limits)
        self.lora = LoRAManager(64 << 20)
        self._storage = ModelStorage(threads, adapters=self.lora)
        self.model = self._storage.load(model_path)
        self._adapters = (
            None
            if adapter_folder is None
            else GroundAdapters(self.lora, self.model.adapter_base, adapter_folder)
        )
        self._hosted = HostedModel(MODEL_NAME, self.model, 0.0)
        self.engine = Engine(EngineConfig(threads=threads, cache_bytes=cache_bytes), now)
        self.parts = RuntimeParts(
            engine=self.engine,
            loop=EngineLoop(self.engine, now, host_limits.guest_count),
            now=now,
            limits=GuestLimits(memory_bytes=host_limits.memory_bytes),
            state=MemoryStateStore(),
            guest_models=GuestModels(self._storage, lambda _: None),
            workers=Workers("worker", 2, 1),
            tool_workers=Workers("tool", 2, 2),
            constraints=ConstraintCompiler(),
            lora=self.lora,
        )
        self._honest_program = self.host.compile(default_program())
        self._idle_program = self.compile(program())

    def __enter__(self) -> Ground:
        return self

    def __exit__(self, *_: object) -> None:
        self.parts.loop.close()
        self.lora.close()
        self.parts.workers.close()
        self.parts.tool_workers.close()
        self.parts.state.close()

    def compile(self, source: str | bytes) -> GuestProgram:
        """Raises GuestError's kinds."""
        wasm = self.host.native.wat_to_wasm(source) if isinstance(source, str) else source
        return self.host.compile(wasm)

    def tenant(
        self,
        tenant_id: str,
        its_program: GuestProgram | None = None,
        policy: TenantPolicy = TenantPolicy(),  # noqa: B008
        models: Mapping[str, HostedModel] | None = None,
    ) -> TenantRuntime:
        """A tenant that runs this program, or the default one; it may load the ground's model.

        policy.program is not looked at. models: what it may load besides.
        """
        guest_program = its_program if its_program is not None else self._honest_program
        record = TenantRecord(tenant_id, policy, lambda _: guest_program, time.perf_counter())
        record.adapter = None if self._adapters is None else self._adapters.default(tenant_id)
        record.models.update({MODEL_NAME: self._hosted, **(models or {})})
        return TenantRuntime(ModelConfig(MODEL_NAME), self._hosted, tenant=record, parts=self.parts)

    def attack(self, attack: ProgramAttack) -> GenerationResult | RealmError:
        """Runs one hostile program to its end."""
        try:
            limits = replace(GROUND_LIMITS, **attack.limits)
            policy = TenantPolicy(guest_limits=limits)
            hostile = self.tenant(HOSTILE, self.compile(attack.make()), policy)
            return hostile.generate("x", max_tokens=64, seed=1)
        except RealmError as error:
            return error

    def attack_beside(
        self, attack: ProgramAttack, prompts: Sequence[str], tokens: int
    ) -> tuple[GenerationResult | RealmError, list[tuple[int, ...]]]:
        """The attack's end, and what honest tenants generated meanwhile, one for each prompt."""
        with ThreadPoolExecutor(len(prompts) + 1) as pool:
            hostile = pool.submit(self.attack, attack)
            honest = [
                pool.submit(self.honest, f"honest-{place}", prompt, tokens)
                for place, prompt in enumerate(prompts)
            ]
            return hostile.result(), [each.result() for each in honest]

    def honest(self, tenant_id: str, prompt: str, tokens: int) -> tuple[int, ...]:
        """The token ids that an honest tenant gets for a prompt; the same for the same prompt."""
        result = self.tenant(tenant_id).generate(
            prompt, max_tokens=tokens, temperature=1.0, top_p=1.0, seed=len(prompt), ignore_eos=True
        )
        return result.token_ids

    def leftovers(self, *, collect: bool = False) -> Leftovers:
        """Call it while nothing runs. collect: let go of programs that nobody has any more."""
        self.engine.forget_texts()
        if collect:
            gc.collect()
        parked = []
        try:
            while len(parked) <= self.host.limits.guest_count:
                parked.append(self._idle_program.start(b"", GROUND_LIMITS))
        except GuestLimitError:
            pass
        free_guests = len(parked)
        del parked
        with Path("/proc/self/maps").open(encoding="utf-8") as lines:
            maps = sum(1 for _ in lines)
        return Leftovers(
            sequences=self.engine.sequence_count,
            free_pages=self.engine.free_page_count(self.model),
            free_guests=free_guests,
            maps=maps,
            adapter_uses=0 if self._adapters is None else self._adapters.use_count(),
        )
