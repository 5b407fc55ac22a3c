"""One measurement of llama.cpp through xllamacpp, for machines where it cannot be compiled.

    python xllamacpp_probe.py MODEL THREADS BATCH PROMPT_TOKENS TOKENS REPEATS

Runs in the peer's own environment and imports nothing of Realm. Prints {"tokens_per_second": ...},
by llama.cpp's own clock; for several sequences the sum of their decode rates while all run.
"""

import json
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor

import xllamacpp


def start(model: str, threads: int, batch: int, tokens: int) -> xllamacpp.Server:
    """A server in this process with room for `batch` sequences of `tokens` tokens."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    parameters.n_parallel = batch
    parameters.n_ctx = batch * (tokens + 64)
    return xllamacpp.Server(parameters)


def complete(server: xllamacpp.Server, prompt: list[int], tokens: int) -> dict:
    """One completion's timings."""
    request = {
        "prompt": prompt, "n_predict": max(tokens, 1), "temperature": 0.0, "ignore_eos": True,
        "cache_prompt": False,
    }  # fmt: skip
    answer = server.handle_completions(request)
    return (json.loads(answer) if isinstance(answer, str) else answer)["timings"]


def main() -> None:
    """Warm up, measure, print."""
    model = sys.argv[1]
    threads, batch, prompt_tokens, tokens, repeats = map(int, sys.argv[2:7])
    server = start(model, threads, batch, prompt_tokens + tokens)
    prompts = [
        [1000 + (7 * row + 13 * column) % 20000 for column in range(prompt_tokens)]
        for row in range(batch)
    ]
    rates = []
    with ThreadPoolExecutor(batch) as pool:
        for number in range(repeats + 1):
            timings = list(pool.map(lambda prompt: complete(server, prompt, tokens), prompts))
            name = "predicted_per_second" if tokens else "prompt_per_second"
            if number:
                rates.append(sum(each[name] for each in timings))
    print(json.dumps({"tokens_per_second": statistics.median(rates)}), flush=True)


if __name__ == "__main__":
    main()
