"""The demonstration's drafts: one answer twice, token by token and with drafts of what follows.

Drafts come from the tenant's own texts and, where it is at hand, from the model of `drafts`, which
was made for SmolLM2-135M-Instruct alone and is not part of an installed package.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import realm
from realm.cli.draft_counts import by_source
from realm.cli.presentation import format_rate, format_rows
from realm.cli.run import result_document
from realm.config import ModelConfig
from realm.errors import DraftMismatchError

if TYPE_CHECKING:
    from realm.engine import SpeculationMetrics
    from realm.runtime import GenerationResult, RuntimeManager, TenantRuntime

REQUEST = "Who is named in the text? Quote the sentences with their names."
_TEXT = (
    "The committee of the seed library met on Tuesday. Bronwen Castell opened the meeting and "
    "thanked Idris Malone, who had mended the roof. Grace Lindholm said that the school would "
    "like forty envelopes of beans. Walter Eccles offered four trunks of oak for new shelves, and "
    "Marit Osinga, a carpenter, said that she would build them before Easter."
)
_TENANT = "demo-drafts"
_MAX_TOKENS = 80


@dataclass(frozen=True, slots=True)
class Drafted:
    """plain, drafted: the same request without drafts and with them. has_model: whether the draft
    model was there. metrics: of the second one."""

    plain: GenerationResult
    drafted: GenerationResult
    has_model: bool
    metrics: SpeculationMetrics

    @property
    def same(self) -> bool:
        """Whether both texts are the same."""
        return self.plain.token_ids == self.drafted.token_ids

    @property
    def gain(self) -> float | None:
        """How many times as fast it is with drafts; None when it was too short to be timed."""
        before, after = self.plain.timings.decode_seconds, self.drafted.timings.decode_seconds
        return before / after if before > 0.0 and after > 0.0 else None


def draft_file() -> Path | None:
    """The draft of SmolLM2 in the folder `drafts` beside the sources; None elsewhere."""
    path = Path(realm.__file__).parents[2] / "drafts" / "smollm2-135m-instruct.gguf"
    return path if path.is_file() else None


def answer_twice(runtime: RuntimeManager, configuration: ModelConfig) -> Drafted:
    """One tenant's answer, greedily, without drafts and then with them.

    What is not drafted leaves no history, so the second answer finds nothing of the first.
    """
    tenant, has_model = _tenant(runtime, configuration)
    plain = _answer(tenant, 0)
    drafted = _answer(tenant, None)
    metrics = runtime.metrics()[_TENANT].speculation
    return Drafted(plain, drafted, has_model, metrics)


def drafted_document(drafted: Drafted) -> dict[str, Any]:
    """What --json prints of it."""
    metrics = drafted.metrics
    return {
        "request": REQUEST,
        "draft_model": drafted.has_model,
        "plain": result_document(drafted.plain),
        "drafted": result_document(drafted.drafted),
        "gain": drafted.gain,
        "drafted_tokens": metrics.drafted,
        "accepted_tokens": metrics.accepted,
        "accepted_length": metrics.total.accepted_length,
        "by_source": by_source(metrics),
    }


def print_drafted(drafted: Drafted, out: TextIO) -> None:
    """For people."""
    print("One answer, token by token and with drafts that each step verifies", file=out)
    text = drafted.drafted.text.strip().replace("\n", "\n         ")
    print(f"  you    (five sentences from a library) {REQUEST}\n  model  {text}", file=out)
    gain = "" if drafted.gain is None else f"{drafted.gain:.2f} times as fast"
    metrics = drafted.metrics
    rows = [
        ("plain", _rate(drafted.plain), ""),
        ("drafted", _rate(drafted.drafted), gain),
        ("accepted", f"{metrics.accepted} tokens", f"of {metrics.drafted} drafted"),
    ]
    rows += [
        (f"  {source.value}", f"{counts.accepted_length:.1f} a draft", f"{counts.drafts} drafts")
        for source, counts in metrics.by_source.items()
    ]
    print(format_rows(rows), file=out)


def _tenant(runtime: RuntimeManager, configuration: ModelConfig) -> tuple[TenantRuntime, bool]:
    path = draft_file()
    if path is not None:
        with_draft = ModelConfig(configuration.model_path, configuration.model_id, path)
        try:
            return runtime.get_or_create_runtime_with_model(_TENANT, with_draft), True
        except DraftMismatchError:
            pass  # another model's vocabulary: texts alone
    return runtime.get_or_create_runtime_with_model(_TENANT, configuration), False


def _answer(tenant: TenantRuntime, draft_k: int | None) -> GenerationResult:
    message = {"role": "user", "content": f"{_TEXT}\n\n{REQUEST}"}
    return tenant.generate(
        messages=[message], max_tokens=_MAX_TOKENS, temperature=0.0, draft_k=draft_k
    )


def _rate(result: GenerationResult) -> str:
    """Of decoding, which begins after the first token."""
    return format_rate(result.timings.completion_tokens - 1, result.timings.decode_seconds)
