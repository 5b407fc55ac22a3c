"""What a program of the older form gets: a prompt's text and a `realm_gen_options`, no JSON."""

from __future__ import annotations

from dataclasses import dataclass

from realm.errors import RequestError
from realm.runtime.layouts import GEN_OPTIONS
from realm.runtime.request import Request

_ALIGNMENT = 8
_SEED_MASK = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class OlderRequest:
    """data: the prompt's UTF-8, a zero byte, and the options at `options_offset`."""

    data: bytes
    prompt_size: int
    options_offset: int


def older_request(request: Request) -> OlderRequest:
    """Messages go through the model's chat template.

    Raises RequestError for token ids, which are no text, and ChatTemplateError.
    """
    if request.messages is not None:
        text = request.model.render_chat(request.messages)
    elif request.prompt is not None:
        text = request.prompt
    else:
        raise RequestError("this tenant's program takes text, not token_ids")
    prompt = text.encode(errors="replace")
    offset = -(-(len(prompt) + 1) // _ALIGNMENT) * _ALIGNMENT
    sampling = request.options.sampling
    options = GEN_OPTIONS.pack(
        request.options.max_tokens,
        sampling.temperature,
        sampling.top_p,
        sampling.top_k,
        sampling.repetition_penalty,
        sampling.seed & _SEED_MASK,
        0,
        0,
    )
    return OlderRequest(prompt.ljust(offset, b"\0") + options, len(prompt), offset)
