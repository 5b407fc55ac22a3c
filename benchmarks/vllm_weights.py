"""A GGUF file's weights in bfloat16 as a folder that vLLM can read.

    python vllm_weights.py MODEL.gguf FOLDER

Runs in the peer's own environment and imports nothing of Realm: transformers reads and dequantises
the file. The tokenizer is left out, prompts are token ids.
"""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM


def main() -> None:
    """Read, convert, write; the folder is there only when it is whole."""
    source, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    model = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.bfloat16
    )
    # The marks of a quantised file would keep it from being written.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    unfinished = folder.with_suffix(".new")
    model.save_pretrained(unfinished)
    unfinished.rename(folder)


if __name__ == "__main__":
    main()
