"""How a text is generated, as clients of the WebSocket protocol and pipelines say it.

Types and ranges are checked when it is made of a document; what only a model can judge (a schema, a
context's length) the engine refuses.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec

MOST_TOKENS = 1 << 20
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1 << 20)]
_StopText = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
_Tokens = Annotated[int, msgspec.Meta(ge=1, le=MOST_TOKENS)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_PositiveShare = Annotated[float, msgspec.Meta(gt=0, le=1)]
_Temperature = Annotated[float, msgspec.Meta(ge=0, le=100)]
_Penalty = Annotated[float, msgspec.Meta(ge=-100, le=100)]
_Divisor = Annotated[float, msgspec.Meta(gt=0, le=100)]
_TopK = Annotated[int, msgspec.Meta(ge=0, le=(1 << 31) - 1)]
_Seed = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
AdapterName = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]

DEFAULT_MAX_TOKENS = 100
_CONSTRAINTS = ("json_schema", "regex", "grammar")
_NOT_KEYWORDS = ("adapter",)


class TextOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Meanings as in GenerationOptions and SamplingParameters of `realm.config`.

    max_tokens: None for 100, or the tenant's limit where that is lower. adapter: a name; None for
    the tenant's own. At most one of json_schema, regex and grammar.
    """

    max_tokens: _Tokens | None = None
    temperature: _Temperature = 0.7
    top_p: _PositiveShare = 0.9
    top_k: _TopK = 0
    min_p: _Share = 0.0
    repetition_penalty: _Divisor = 1.0
    presence_penalty: _Penalty = 0.0
    frequency_penalty: _Penalty = 0.0
    seed: _Seed | None = None
    stop: _StopText | Annotated[list[_StopText], msgspec.Meta(max_length=16)] | None = None
    json_schema: dict[str, Any] | _Text | None = None
    regex: _Text | None = None
    grammar: _Text | None = None
    adapter: AdapterName | None = None

    def __post_init__(self) -> None:
        given = [name for name in _CONSTRAINTS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other")

    def keywords(self, max_tokens: int) -> dict[str, Any]:
        """As keywords of `TenantRuntime.generate`; what was left out is left out there too.

        max_tokens: those that the tenant may have.
        """
        found: dict[str, Any] = {"max_tokens": max_tokens}
        for field in msgspec.structs.fields(TextOptions):
            value = getattr(self, field.name)
            if field.name not in (*_NOT_KEYWORDS, "max_tokens") and value is not None:
                found[field.name] = value
        if isinstance(self.json_schema, dict):
            found["json_schema"] = json.dumps(self.json_schema)
        return found
