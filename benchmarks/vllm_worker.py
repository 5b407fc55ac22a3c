"""Measurements of vLLM in one process that stays: loading it takes a minute.

    python vllm_worker.py FOLDER TOKENS

Runs in the peer's own environment and imports nothing of Realm. Reads cases from standard input, a
JSON object a line {"batch", "prompt_tokens", "tokens", "repeats"}, and answers each with a line
{"tokens_per_second", "peak_rss_bytes"}. TOKENS: the most that sequences at once have together. The
clocks are those of `realm bench`: prefill until the first token, decode from the last sequence's
first token on.
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path

# Whatever vLLM prints goes to the messages; answers have the real standard output to themselves.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

from vllm import EngineArgs, LLMEngine, SamplingParams, TokensPrompt  # noqa: E402


def start(folder: str, tokens: int) -> LLMEngine:
    """The engine; greedy, no prefix cache, every prompt read in one step."""
    return LLMEngine.from_engine_args(
        EngineArgs(
            model=folder,
            dtype="bfloat16",
            skip_tokenizer_init=True,
            enable_prefix_caching=False,
            max_model_len=1024,
            max_num_seqs=32,
            max_num_batched_tokens=tokens,
            disable_log_stats=True,
        )
    )


def run(engine: LLMEngine, case: dict, number: int) -> float:
    """Tokens a second of one run."""
    batch, count = case["batch"], case["prompt_tokens"]
    wanted = max(case["tokens"], 1)
    sampling = SamplingParams(temperature=0.0, max_tokens=wanted, ignore_eos=True, detokenize=False)
    started = time.perf_counter()
    for row in range(batch):
        seed = number * batch + row
        prompt = [1000 + (7 * seed + 13 * column) % 20000 for column in range(count)]
        engine.add_request(str(seed), TokensPrompt(prompt_token_ids=prompt), sampling)
    produced = [0] * batch
    begin = end = started
    early = 0
    while engine.has_unfinished_requests():
        outputs = engine.step()
        end = time.perf_counter()
        running = all(produced)
        for output in outputs:
            produced[int(output.request_id.split("-")[0]) - number * batch] = len(
                output.outputs[0].token_ids
            )
        if not running and all(produced):
            begin, early = end, sum(produced)
    if not case["tokens"]:
        return count / (begin - started)
    return (sum(produced) - early) / (end - begin)


def main() -> None:
    """Answer every case until the input ends."""
    engine = start(sys.argv[1], int(sys.argv[2]))
    number = 0
    for line in sys.stdin:
        case = json.loads(line)
        rates = []
        for _ in range(case["repeats"] + 1):
            rates.append(run(engine, case, number))
            number += 1
        status = Path("/proc/self/status").read_text(encoding="ascii")
        peak = next(row for row in status.splitlines() if row.startswith("VmHWM"))
        answer = {
            "tokens_per_second": statistics.median(rates[1:]),
            "peak_rss_bytes": int(peak.split()[1]) * 1024,
        }
        print(json.dumps(answer), file=ANSWERS, flush=True)


if __name__ == "__main__":
    main()
