"""`adapter_config.json` of a PEFT folder: what it says of a LoRA, and refusals of all else.

A key that is not known here and not empty is refused: it may change what the adapter computes.
Paths in it are never opened.

Source of the keys and their meaning: PEFT's `LoraConfig` and `LoraModel`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from realm.errors import AdapterFormatError, AdapterKindError
from realm.lora.document import parse_object, shown
from realm.lora.pair import LARGEST_RANK
from realm.lora.pattern import MatchBudget, Pattern, compile_pattern, is_plain

_ALL_LINEAR = "all-linear"
_MOST_PATTERNS = 1 << 12

# Change training, or say where things came from, but not what the factors mean.
_WITHOUT_EFFECT = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",
        "corda_config",
        "eva_config",
        "inference_mode",
        "loftq_config",
        "lora_dropout",
        "lora_ga_config",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "revision",
        "runtime_config",
        "task_type",
        "unsloth_fixed",
        "velora_config",
    }
)
_READ = frozenset(
    {
        "alpha_pattern",
        "bias",
        "exclude_modules",
        "init_lora_weights",
        "layers_pattern",
        "layers_to_transform",
        "lora_alpha",
        "peft_type",
        "r",
        "rank_pattern",
        "target_modules",
        "use_rslora",
    }
)
_REFUSED: Mapping[str, str] = {
    "alora_invocation_tokens": "activated LoRA is not offered",
    "arrow_config": "routing between adapters is not offered",
    "ensure_weight_tying": "one adapter for a tied embedding and head is not offered",
    "fan_in_fan_out": "layers that are stored transposed are not offered",
    "kasa_config": "KaSA changes the base's weights",
    "layer_replication": "layers that are used twice are not offered",
    "lora_bias": "biases are not offered",
    "megatron_config": "Megatron's layers are not offered",
    "modules_to_save": "whole modules beside the factors are not offered",
    "monteclora_config": "MonteCLoRA is not offered",
    "target_parameters": "factors of bare parameters are not offered",
    "trainable_token_indices": "tokens that were trained are not offered",
    "use_bdlora": "block-diagonal factors are not offered",
    "use_dora": "DoRA is not offered",
    "use_qalora": "QALoRA is not offered",
}
# Others (PiSSA, OLoRA, CorDA, LoftQ, ...) leave a part of the base's weights in the factors.
_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")


@dataclass(frozen=True, slots=True)
class ModuleRule:
    """A key of `rank_pattern` or `alpha_pattern`: the end of a module's path, or a pattern."""

    source: str
    pattern: Pattern | None
    value: float

    def applies_to(self, path: str) -> bool:
        """As PEFT: the pattern matches the whole path, or all of it after one of its dots."""
        if self.pattern is not None:
            return self.pattern.matches_tail(path)
        start = len(path) - len(self.source)
        if start < 0 or (start > 0 and path[start - 1] != "."):
            return False
        if path.endswith(self.source):
            return True
        # A dot of a pattern stands for any character.
        return all(a in (b, ".") for a, b in zip(self.source, path[start:], strict=True))


@dataclass(frozen=True, slots=True)
class PeftConfig:
    """A checked configuration."""

    rank: int
    alpha: float
    is_rank_stabilised: bool
    rank_rules: tuple[ModuleRule, ...]
    alpha_rules: tuple[ModuleRule, ...]
    targets: Pattern | frozenset[str] | None
    excluded: Pattern | frozenset[str]
    layers: frozenset[int] | None

    def rank_of(self, path: str) -> int:
        """The rank of a module's factors."""
        return int(_first(self.rank_rules, path, self.rank))

    def scale_of(self, path: str) -> float:
        """alpha / rank, or alpha / sqrt(rank) when stabilised (Kalajdzievski, 2023)."""
        rank = self.rank_of(path)
        alpha = _first(self.alpha_rules, path, self.alpha)
        return alpha / math.sqrt(rank) if self.is_rank_stabilised else alpha / rank

    def is_target(self, path: str) -> bool:
        """Whether the adapter changes this module, such as "model.layers.3.mlp.up_proj"."""
        if _names(self.excluded, path):
            return False
        if self.targets is None:  # all linear layers but the head
            return not path.endswith(("lm_head", "embed_tokens"))
        if not _names(self.targets, path):
            return False
        if self.layers is None or isinstance(self.targets, Pattern):
            return True
        return _layer_of(path) in self.layers


def parse_config(data: bytes, place: str) -> PeftConfig:
    """The configuration in these bytes. place: begins the message of an error.

    Raises AdapterFormatError for what is malformed, AdapterKindError for what is not offered.
    """
    reader = _Reader(parse_object(data, place), place)
    reader.refuse_other_kinds()
    budget = MatchBudget(place)
    return PeftConfig(
        rank=reader.rank("r", reader.get("r", 8)),
        alpha=reader.number("lora_alpha", reader.get("lora_alpha", 8)),
        is_rank_stabilised=reader.flag("use_rslora"),
        rank_rules=reader.rules("rank_pattern", budget, reader.rank),
        alpha_rules=reader.rules("alpha_pattern", budget, reader.number),
        targets=reader.targets(budget),
        excluded=reader.modules("exclude_modules", budget),
        layers=reader.layers(),
    )


class _Reader:
    """Reads keys of one document with their checks."""

    __slots__ = ("_document", "_place")

    def __init__(self, document: Mapping[str, Any], place: str) -> None:
        self._document = document
        self._place = place

    def get(self, key: str, default: Any) -> Any:
        value = self._document.get(key)
        return default if value is None else value

    def _wrong(self, key: str, what: str) -> AdapterFormatError:
        return AdapterFormatError(f"{self._place}: {key}: {what}")

    def refuse_other_kinds(self) -> None:
        kind = self._document.get("peft_type")
        if kind != "LORA":
            raise AdapterKindError(f"{self._place}: peft_type is {shown(kind)}, not 'LORA'")
        for key, value in self._document.items():
            if key in _READ or key in _WITHOUT_EFFECT or value in (None, False, "", [], {}):
                continue
            why = _REFUSED.get(key, "not known here; it may change what the adapter means")
            raise AdapterKindError(f"{self._place}: {shown(key)} is {shown(value)}: {why}")
        bias = self.get("bias", "none")
        if bias != "none":
            raise AdapterKindError(f"{self._place}: bias is {shown(bias)}: biases are not offered")
        start = self._document.get("init_lora_weights")
        if not any(start is plain or start == plain for plain in _PLAIN_STARTS):
            why = "factors that start from the base's weights are not offered"
            raise AdapterKindError(f"{self._place}: init_lora_weights is {shown(start)}: {why}")

    def flag(self, key: str) -> bool:
        value = self.get(key, False)
        if not isinstance(value, bool):
            raise self._wrong(key, f"must be true or false, not {shown(value)}")
        return value

    def number(self, key: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(key, f"must be a number, not {shown(value)}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self._wrong(key, "must be a finite number")
        return number

    def rank(self, key: str, value: object) -> int:
        if type(value) is not int:
            raise self._wrong(key, f"a rank must be a whole number, not {shown(value)}")
        if not 1 <= value <= LARGEST_RANK:
            text = "huge" if abs(value) > 1 << 62 else str(value)
            raise self._wrong(key, f"a rank must be in 1..{LARGEST_RANK}, not {text}")
        return value

    def rules(self, key: str, budget: MatchBudget, read: Any) -> tuple[ModuleRule, ...]:
        entries = self.get(key, {})
        if not isinstance(entries, dict) or len(entries) > _MOST_PATTERNS:
            raise self._wrong(key, "must be an object of values by patterns")
        place = f"{self._place}: {key}"
        return tuple(
            ModuleRule(
                source,
                None if is_plain(source) else compile_pattern(source, place, budget),
                read(f"{key} of {shown(source)}", value),
            )
            for source, value in entries.items()
        )

    def targets(self, budget: MatchBudget) -> Pattern | frozenset[str] | None:
        if self._document.get("target_modules") == _ALL_LINEAR:
            return None
        targets = self.modules("target_modules", budget)
        if not targets:
            raise self._wrong("target_modules", "there are none")
        return targets

    def modules(self, key: str, budget: MatchBudget) -> Pattern | frozenset[str]:
        value = self.get(key, [])
        if isinstance(value, str) and value:
            return compile_pattern(value, f"{self._place}: {key}", budget)
        if isinstance(value, list) and all(isinstance(each, str) and each for each in value):
            return frozenset(value)
        raise self._wrong(key, f"must be a pattern or a list of names, not {shown(value)}")

    def layers(self) -> frozenset[int] | None:
        pattern = self.get("layers_pattern", [])
        if pattern not in ([], "", "layers", ["layers"]):
            why = "only layers of the decoder can be chosen"
            raise AdapterKindError(f"{self._place}: layers_pattern is {shown(pattern)}: {why}")
        value = self.get("layers_to_transform", [])
        indices: Sequence[object] = value if isinstance(value, list) else [value]
        if not all(type(index) is int for index in indices):
            raise self._wrong("layers_to_transform", f"{shown(value)} are no layers")
        return frozenset(index for index in indices if isinstance(index, int)) or None


def _first(rules: Sequence[ModuleRule], path: str, default: float) -> float:
    return next((rule.value for rule in rules if rule.applies_to(path)), default)


def _names(modules: Pattern | frozenset[str], path: str) -> bool:
    if isinstance(modules, Pattern):
        return modules.matches_all(path)
    if not modules:
        return False
    rest, dot = path, "."
    while dot:
        if rest in modules:
            return True
        _, dot, rest = rest.partition(".")
    return False


def _layer_of(path: str) -> int | None:
    """The first number in the path that stands after two names; None where there is none."""
    parts = path.split(".")
    return next((int(part) for part in parts[2:-1] if part.isdecimal()), None)
