"""`realm info`: what a model file holds, read from its header alone, and what this machine is."""

from __future__ import annotations

import argparse
import platform
from collections import Counter
from collections.abc import Sized
from pathlib import Path
from typing import Any

from realm.cli.arguments import add_engine_arguments, add_json_argument, add_model_arguments
from realm.cli.context import Context
from realm.cli.model_file import find_model_file
from realm.cli.presentation import format_bytes, format_rows, print_json
from realm.config import EngineConfig
from realm.gguf import GGUFFile, open_gguf

_CPU_FACTS = Path("/proc/cpuinfo")


def configure(parser: argparse.ArgumentParser) -> None:
    """See `realm.cli.main.Command`."""
    add_model_arguments(parser, required=False)
    add_engine_arguments(parser)
    add_json_argument(parser)


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """See `realm.cli.main.Command`."""
    document: dict[str, Any] = {"machine": _machine(arguments, context)}
    if arguments.model is not None:
        path = find_model_file(arguments, context)
        with open_gguf(path) as file:
            document["model"] = describe_model(file)
    if arguments.json:
        print_json(document, context.stdout)
    else:
        context.stdout.write(_text(document))
    return 0


def describe_model(file: GGUFFile) -> dict[str, Any]:
    """Facts of an open GGUF file. It says nothing about whether Realm can run the model."""
    architecture = file.get("general.architecture", str, "unknown")
    prefix = f"{architecture}."
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for tensor in file.tensors.values():
        counts[tensor.block_type.name] += 1
        sizes[tensor.block_type.name] += tensor.size_bytes
    tokens = file.metadata.get("tokenizer.ggml.tokens")
    return {
        "path": str(file.path),
        "size_bytes": file.size_bytes,
        "gguf_version": file.version,
        "name": file.get("general.name", str, ""),
        "architecture": architecture,
        "hyperparameters": {
            key.removeprefix(prefix): value
            for key, value in file.metadata.items()
            if key.startswith(prefix) and isinstance(value, int | float | str)
        },
        "tensors": {
            "count": len(file.tensors),
            "by_block_type": {
                name: {"count": counts[name], "size_bytes": size}
                for name, size in sizes.most_common()
            },
        },
        "tokenizer": {
            "model": file.get("tokenizer.ggml.model", str, ""),
            "pre": file.get("tokenizer.ggml.pre", str, ""),
            "tokens": len(tokens) if isinstance(tokens, Sized) else 0,
            "chat_template": "tokenizer.chat_template" in file.metadata,
        },
    }


def _machine(arguments: argparse.Namespace, context: Context) -> dict[str, Any]:
    return {
        "processor": _processor_name(),
        "instruction_set": context.instruction_set(),
        "threads": EngineConfig(threads=arguments.threads).thread_count,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _processor_name() -> str:
    if _CPU_FACTS.exists():
        for line in _CPU_FACTS.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _text(document: dict[str, Any]) -> str:
    machine = document["machine"]
    text = "Machine\n" + format_rows([(key, str(value)) for key, value in machine.items()])
    model = document.get("model")
    if model is None:
        return text
    tokenizer = model["tokenizer"]
    rows = [
        ("file", model["path"]),
        ("size", format_bytes(model["size_bytes"])),
        ("name", model["name"]),
        ("architecture", model["architecture"]),
        (
            "tokenizer",
            f"{tokenizer['model']} {tokenizer['pre']}, {tokenizer['tokens']:,} tokens, "
            f"{'with' if tokenizer['chat_template'] else 'without'} a chat template",
        ),
    ]
    text += "\nModel\n" + format_rows(rows)
    text += "\nHyperparameters\n" + format_rows(
        [(key, str(value)) for key, value in model["hyperparameters"].items()]
    )
    tensors = model["tensors"]
    text += f"\nTensors: {tensors['count']}\n" + format_rows(
        [
            (name, str(facts["count"]), format_bytes(facts["size_bytes"]))
            for name, facts in tensors["by_block_type"].items()
        ]
    )
    return text
