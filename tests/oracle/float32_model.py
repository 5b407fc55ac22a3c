"""The oracle model: what float32 arithmetic on the dequantised weights says.

Logits, greedy continuations and perplexity, plus the same model with its activations rounded to
int8 as Realm's integer kernels do: the difference of the two is the quantisation's own noise,
known without asking Realm. It never holds the logits of a whole window of a large vocabulary.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import Gemma3ForCausalLM, LlamaForCausalLM, PreTrainedModel
from transformers.initialization import no_init_weights

from . import THREADS
from .gguf_weights import read_weights, transformers_tensor

MODEL_CLASSES = {"llama": LlamaForCausalLM, "gemma3": Gemma3ForCausalLM}
HEAD_ROWS = 256
"""Rows whose logits are held at once: 256 x 262,144 x 4 bytes are 268 MB."""
ACTIVATION_BLOCK = 32


@dataclass(frozen=True, slots=True)
class GreedyContinuation:
    """The chosen tokens, and the logits that each was chosen from: [tokens, vocabulary]."""

    token_ids: list[int]
    logits: npt.NDArray[np.float32]


class Float32Model:
    """One GGUF file in float32."""

    def __init__(self, model: PreTrainedModel, architecture: str) -> None:
        self._model = model
        self._architecture = architecture

    @classmethod
    def from_gguf(cls, path: Path) -> Float32Model:
        """Dequantise a llama or gemma3 file; takes 4 bytes a weight."""
        torch.set_num_threads(THREADS)
        weights = read_weights(path)
        with no_init_weights():  # random numbers for what is loaded below would take seconds
            model = MODEL_CLASSES[weights.architecture](weights.config)
        model.tie_weights()
        # Named parameters leave out what is tied, as the file does.
        parameters = {name for name, _ in model.named_parameters()}
        if parameters != set(weights.state):
            raise ValueError(f"{path}: tensors that differ: {parameters ^ set(weights.state)}")
        model.load_state_dict(weights.state, strict=False)
        return cls(model.eval(), weights.architecture)

    def replace(self, name: str, values: npt.NDArray[np.float32]) -> None:
        """Other values for a tensor of the file: `name` and order are the file's."""
        config = self._model.config
        state = transformers_tensor(self._architecture, config, name, values)
        with torch.no_grad():
            for parameter, tensor in state.items():
                self._model.get_parameter(parameter).copy_(tensor)

    def free(self) -> None:
        """Give the weights back, whoever still holds this object."""
        del self._model
        gc.collect()

    def window(self, layer: int) -> int:
        """How many tokens a token of this layer sees, itself included; the context if all."""
        config = self._model.config
        kinds = getattr(config, "layer_types", None) or ["full_attention"] * (layer + 1)
        local = kinds[layer] == "sliding_attention"
        return int(config.sliding_window if local else config.max_position_embeddings)

    @property
    def layer_count(self) -> int:
        """Layers of the model."""
        return int(self._model.config.num_hidden_layers)

    def hidden_states(self, token_ids: list[int]) -> list[npt.NDArray[np.float32]]:
        """Embeddings, each layer's output and the normed output: each [tokens, width]."""
        with torch.inference_mode():
            output = self._model.model(
                torch.tensor([token_ids]), use_cache=False, output_hidden_states=True
            )
        return [state[0].numpy() for state in output.hidden_states]

    def logit_rows(self, token_ids: list[int]) -> Iterator[npt.NDArray[np.float32]]:
        """Logits of the tokens in order, [rows, vocabulary] with at most HEAD_ROWS rows at once."""
        with torch.inference_mode():
            hidden = self._model.model(torch.tensor([token_ids]), use_cache=False)
            rows = hidden.last_hidden_state[0]
        for first in range(0, len(token_ids), HEAD_ROWS):
            with torch.inference_mode():
                logits = self._model.lm_head(rows[first : first + HEAD_ROWS])
            yield logits.numpy()

    def logits(self, token_ids: list[int]) -> npt.NDArray[np.float32]:
        """Logits of every token, [tokens, vocabulary]; for short inputs."""
        return np.concatenate(list(self.logit_rows(token_ids)))

    def greedy(self, prompts: Sequence[list[int]], count: int) -> list[GreedyContinuation]:
        """Of each prompt the `count` most likely tokens one after another, the lowest id on ties.

        All prompts go through the model together, the shorter ones filled up in front.
        """
        width = max(map(len, prompts))
        mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])
        pending = torch.tensor([[0] * (width - len(ids)) + ids for ids in prompts])
        cache = None
        rows: list[torch.Tensor] = []
        chosen: list[torch.Tensor] = []
        for _ in range(count):
            positions = (mask.cumsum(-1) - 1).clamp_min(0)[:, -pending.shape[1] :]
            with torch.inference_mode():
                output = self._model(
                    pending,
                    attention_mask=mask,
                    position_ids=positions,
                    cache=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
            cache = output.cache
            rows.append(output.logits[:, -1])
            pending = rows[-1].argmax(-1, keepdim=True)
            chosen.append(pending)
            mask = torch.cat([mask, torch.ones_like(pending)], -1)
        logits = torch.stack(rows, 1).numpy()
        token_ids = torch.cat(chosen, -1).tolist()
        return [GreedyContinuation(*each) for each in zip(token_ids, logits, strict=True)]

    @contextmanager
    def int8_activations(self) -> Iterator[None]:
        """Within, matrix products read activations rounded to int8, a scale for 32 columns."""
        hooks = [
            module.register_forward_pre_hook(_round_to_int8)
            for module in self._model.modules()
            if isinstance(module, nn.Linear)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _round_to_int8(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
    blocks = inputs[0].unflatten(-1, (-1, ACTIVATION_BLOCK))
    scales = blocks.abs().amax(-1, keepdim=True) / 127.0
    quants = torch.round(blocks / scales.clamp_min(torch.finfo(torch.float32).tiny))
    return ((quants * scales).flatten(-2),)
