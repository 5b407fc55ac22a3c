"""Trains one adapter of a llama model with torch and PEFT; only the answers' tokens count.

Only the upper layers are adapted. What the lower ones make of the examples therefore never changes:
it is computed once and kept, and no gradient goes there.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import peft
import torch
from prompts import Encoded
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, GgufConfig

BASE_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
RANK = 8
ALPHA = 16
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
ADAPTED_LAYERS = 15
"""From the top: 8 x (1152 + 768 + 768 + 1152) numbers a layer, 0.46 million in all."""
BATCH = 16
LEARNING_RATE = 2e-3
WARM_UP = 0.06
_BUCKET = 8
_REPORT = 10


@dataclass(frozen=True, slots=True)
class Prepared:
    """states: what enters the first adapted layer, [tokens, hidden]. targets: of the answer."""

    states: torch.Tensor
    answer_start: int
    targets: torch.Tensor


class Trainer:
    """One model with one new adapter."""

    def __init__(self, path: Path, seed: int) -> None:
        """path: a GGUF file; its weights are dequantised to bfloat16."""
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_pretrained(
            path.parent,
            gguf_file=path.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
        )
        count = model.config.num_hidden_layers
        self._first = count - ADAPTED_LAYERS
        config = peft.LoraConfig(
            r=RANK,
            lora_alpha=ALPHA,
            target_modules=list(TARGETS),
            layers_to_transform=list(range(self._first, count)),
            task_type="CAUSAL_LM",
        )
        self._adapted = peft.get_peft_model(model, config).train()
        self._model = model.model
        self._head = model.lm_head

    def prepare(self, examples: Sequence[Encoded]) -> list[Prepared]:
        """The lower layers' work, batch by batch of similar lengths; in the order of lengths."""
        prepared = []
        ordered = sorted(examples, key=lambda example: len(example.token_ids))
        for begin in range(0, len(ordered), BATCH):
            batch = ordered[begin : begin + BATCH]
            length = len(batch[-1].token_ids)
            # What stands behind an example's end is never seen by its own tokens.
            ids = torch.tensor(
                [each.token_ids + [0] * (length - len(each.token_ids)) for each in batch]
            )
            with torch.inference_mode():
                states = self._run_layers(self._model.embed_tokens(ids), 0, self._first)
            for row, each in zip(states, batch, strict=True):
                prepared.append(
                    Prepared(
                        states=row[: len(each.token_ids) - 1].clone(),
                        answer_start=each.answer_start,
                        targets=torch.tensor(each.token_ids[each.answer_start :]),
                    )
                )
        return prepared

    def train(self, examples: Sequence[Prepared], seed: int) -> None:
        """One pass: AdamW with a warm-up and a cosine; prints the loss now and then."""
        generator = torch.Generator().manual_seed(seed)
        batches = list(_batches(examples, generator))
        parameters = [each for each in self._adapted.parameters() if each.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: _learning_rate(step / len(batches))
        )
        began, losses = time.perf_counter(), []
        for step, batch in enumerate(batches, 1):
            logits, targets = self._logits(batch)
            loss = cross_entropy(logits, targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            if step % _REPORT == 0:
                mean = sum(losses[-_REPORT:]) / _REPORT
                seconds = time.perf_counter() - began
                print(f"  step {step}/{len(batches)}  loss {mean:.4f}  {seconds:.0f} s", flush=True)

    @torch.inference_mode()
    def exact_share(self, examples: Sequence[Prepared]) -> float:
        """The share whose every token is the most likely one: what greedy decoding would repeat."""
        right = 0
        for begin in range(0, len(examples), BATCH):
            batch = examples[begin : begin + BATCH]
            logits, targets = self._logits(batch)
            found = (logits.argmax(-1) == targets).split([len(each.targets) for each in batch])
            right += sum(bool(each.all()) for each in found)
        return right / len(examples)

    def save(self, folder: Path) -> None:
        """As PEFT saves it, its numbers in bfloat16."""
        for name, parameter in self._adapted.named_parameters():
            if "lora_" in name:
                parameter.data = parameter.data.to(torch.bfloat16)
        self._adapted.save_pretrained(folder, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # an empty form
        tidy(folder)

    def _logits(self, batch: Sequence[Prepared]) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and targets of all answers' tokens, one below the other."""
        states = torch.nn.utils.rnn.pad_sequence([each.states for each in batch], batch_first=True)
        out = self._run_layers(states, self._first, len(self._model.layers))
        rows = torch.cat(
            [
                row[each.answer_start - 1 :][: len(each.targets)]
                for row, each in zip(out, batch, strict=True)
            ]
        )
        logits = self._head(self._model.norm(rows))
        return logits.float(), torch.cat([each.targets for each in batch])

    def _run_layers(self, states: torch.Tensor, first: int, end: int) -> torch.Tensor:
        positions = torch.arange(states.shape[1])[None]
        rotation = self._model.rotary_emb(states, position_ids=positions)
        for layer in self._model.layers[first:end]:
            states = layer(states, position_ids=positions, position_embeddings=rotation)
        return states


def tidy(folder: Path) -> None:
    """Names the base as the world knows it, and leaves nothing to the order of a set."""
    path = folder / "adapter_config.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["base_model_name_or_path"] = BASE_NAME
    document["target_modules"] = sorted(document["target_modules"])
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    (folder / "adapter_model.safetensors").chmod(0o644)


def _batches(examples: Sequence[Prepared], generator: torch.Generator) -> Iterator[list[Prepared]]:
    """All examples once, in batches of similar lengths, in any order."""
    order = torch.randperm(len(examples), generator=generator).tolist()
    span = BATCH * _BUCKET
    batches = []
    for begin in range(0, len(order), span):
        near = sorted(order[begin : begin + span], key=lambda index: len(examples[index].states))
        batches += [near[first : first + BATCH] for first in range(0, len(near), BATCH)]
    for index in torch.randperm(len(batches), generator=generator).tolist():
        yield [examples[each] for each in batches[index]]


def _learning_rate(done: float) -> float:
    """Of the highest, after this share of all steps."""
    if done < WARM_UP:
        return done / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))
