"""What clients post, as OpenAI's clients write it, and the extra object `realm`.

Fields that are not here are ignored, as clients send many; in `realm` they are refused. None and a
field that is left out mean the same.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw

MOST_CHOICES = 128
_Name = Annotated[str, Meta(min_length=1, max_length=256)]
_Tokens = Annotated[int, Meta(ge=1, le=1 << 20)]
_Choices = Annotated[int, Meta(ge=1, le=MOST_CHOICES)]
_Temperature = Annotated[float, Meta(ge=0, le=2)]
_Share = Annotated[float, Meta(ge=0, le=1)]
_PositiveShare = Annotated[float, Meta(gt=0, le=1)]
_Penalty = Annotated[float, Meta(ge=-2, le=2)]
_Divisor = Annotated[float, Meta(gt=0, le=100)]
_Logprobs = Annotated[int, Meta(ge=0, le=20)]
_TopK = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
_Seed = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_TokenId = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
_StopText = Annotated[str, Meta(min_length=1, max_length=1000)]
_StopTexts = Annotated[list[_StopText], Meta(max_length=4)]
_BiasKey = Annotated[str, Meta(pattern=r"^[0-9]{1,10}$")]
_Bias = Annotated[float, Meta(ge=-100, le=100)]
_LogitBias = Annotated[dict[_BiasKey, _Bias], Meta(max_length=1024)]
_Scale = Annotated[float, Meta(ge=-1000, le=1000)]
_Drafted = Annotated[int, Meta(ge=0, le=256)]
_Source = Annotated[str, Meta(min_length=1, max_length=1 << 17)]
_Inputs = Annotated[list[str | _TokenId | list[_TokenId]], Meta(min_length=1)]


class RealmOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What OpenAI's API has no field for.

    adapter: a name, or several names or [name, weight] pairs that are added; an empty list for
    none, None for the tenant's own. scale: multiplies all weights. speculation: false for none,
    true for the engine's choice, a number for that many drafted tokens at most; the text is the
    same. program: the name of one. regex, grammar: what the answer matches.
    """

    # No tuple beside a text of bounded length: msgspec 0.22 mixes up the two lengths of such a
    # union, and reads memory that is not its own. `adapters` checks the pairs.
    adapter: str | list[str | list[str | float]] | None = None
    scale: _Scale | None = None
    speculation: bool | _Drafted | None = None
    program: _Name | None = None
    regex: _Source | None = None
    grammar: _Source | None = None
    top_k: _TopK | None = None
    min_p: _Share | None = None
    typical_p: _PositiveShare | None = None
    repetition_penalty: _Divisor | None = None


class StreamOptions(msgspec.Struct, frozen=True):
    """include_usage: a last chunk with the usage of the whole request."""

    include_usage: bool | None = None


class JsonSchema(msgspec.Struct, frozen=True, kw_only=True):
    """schema: of the answer; always kept to, strict or not."""

    schema: Raw = msgspec.field(default_factory=Raw)
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, frozen=True, kw_only=True):
    """What the answer looks like."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What both kinds of completion take."""

    model: _Name
    max_tokens: _Tokens | None = None
    n: _Choices | None = None
    stop: _StopText | _StopTexts | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    seed: _Seed | None = None
    temperature: _Temperature | None = None
    top_p: _Share | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    logit_bias: _LogitBias | None = None
    response_format: ResponseFormat | None = None
    realm: RealmOptions | None = None


class ContentPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a message. type: only 'text' is offered."""

    type: str
    text: str | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[ContentPart] | None = None
    tool_calls: list[Raw] | None = None


class ChatRequest(GenerationRequest, frozen=True, kw_only=True):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: _Tokens | None = None
    logprobs: bool | None = None
    top_logprobs: _Logprobs | None = None
    tools: list[Raw] | None = None
    functions: list[Raw] | None = None
    modalities: list[str] | None = None


class CompletionRequest(GenerationRequest, frozen=True, kw_only=True):
    """`POST /v1/completions`. prompt: one or several, each as text or as token ids."""

    prompt: str | _Inputs
    logprobs: _Logprobs | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: _Choices | None = None


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /v1/embeddings`. input: one or several, each as text or as token ids."""

    model: _Name
    input: str | _Inputs
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Any = None
