"""What a tenant that floods the server costs the others: ten times its share of requests.

    python benchmarks/serve_fairness.py [--model smollm2] [--tenants 9] [--clients 2] [--rounds 6]

Every tenant has so many clients that stream answers all the time. In turns, one of them has ten
times as many. The figure is what the others keep of their tokens a second; the median of the
rounds' ratios. The flood's own requests may be refused with 429 or 503; it asks again at once.
Nobody else's may, and nobody else's text may change. Exits with 1 when one was.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import command_line
import results
from serve_load import Script, Tally, ask, make_scripts, percentiles, solo
from served import Served

from realm.catalog import Catalog

_FLOOD = 10


async def run_slice(
    port: int, scripts: list[list[Script]], alone: list[list[str]], extra: int, seconds: float
) -> tuple[float, Tally, Tally]:
    """Tokens a second of all but the first tenant; what they saw, and what the first one saw.

    extra: further clients of the first tenant.
    """
    others, flood = Tally(), Tally()
    started = time.perf_counter()
    end = started + seconds
    ended = started  # of the last one of the others: the flood's own last answers take long

    async def client(tenant: int, number: int) -> None:
        nonlocal ended
        tally = others if tenant else flood
        script = scripts[tenant][number % len(scripts[tenant])]
        text_alone = alone[tenant][number % len(scripts[tenant])]
        while time.perf_counter() < end:
            text = await ask(port, script, tally)
            if text is None:
                await asyncio.sleep(0.01)
            else:
                tally.different += text != text_alone
        if tenant:
            ended = time.perf_counter()

    clients = [
        client(tenant, number)
        for tenant, own in enumerate(scripts)
        for number in range(len(own) + (0 if tenant else extra))
    ]
    await asyncio.gather(*clients)
    return others.tokens / (ended - started), others, flood


def main() -> int:
    """Run, print, write the JSON; 1 when another tenant's answer failed or differed."""
    parser = command_line.parser(__doc__, "model", "threads", "output")
    parser.add_argument("--tenants", type=int, default=9)
    parser.add_argument("--clients", type=int, default=2, help="of each tenant")
    parser.add_argument("--tokens", type=int, default=64, help="of an answer")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a slice")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--draft-k", type=int, default=0, help="texts repeat: all would be drafted")
    arguments = parser.parse_args()
    path = Catalog().obtain(arguments.model)
    document = results.begin(model=path.name)
    usual, flooded, ratios = [], [], []
    others, flood, at_share = Tally(), Tally(), Tally()
    words = ("--draft-k", str(arguments.draft_k))
    with (
        tempfile.TemporaryDirectory() as name,
        Served(Path(name) / "home", path, arguments.threads, *words) as served,
    ):
        scripts = [
            make_scripts([served.add_tenant(f"tenant-{n}")], served.model, count, arguments.tokens)
            for n, count in enumerate([arguments.clients] * arguments.tenants)
        ]
        alone = [asyncio.run(solo(served.port, own)) for own in scripts]
        extra = (_FLOOD - 1) * arguments.clients
        for number in range(arguments.rounds):
            rates = {}
            for more in (0, extra) if number % 2 else (extra, 0):
                rates[more], others_saw, first_saw = asyncio.run(
                    run_slice(served.port, scripts, alone, more, arguments.seconds)
                )
                for to, of in ((others, others_saw), (flood if more else at_share, first_saw)):
                    to.failures += of.failures
                    to.different += of.different
                    to.answers += of.answers
                    to.tokens += of.tokens
                    to.gaps += of.gaps
            usual.append(rates[0])
            flooded.append(rates[extra])
            ratios.append(rates[extra] / rates[0])
            print(f"others: {rates[0]:.0f} tok/s, beside the flood {rates[extra]:.0f}", flush=True)
    document |= {
        "threads": arguments.threads,
        "tenants": arguments.tenants,
        "draft_k": arguments.draft_k,
        "clients_of_each": arguments.clients,
        "clients_of_the_flood": arguments.clients + extra,
        "others_tokens_per_second": round(statistics.median(usual), 1),
        "others_tokens_per_second_beside_the_flood": round(statistics.median(flooded), 1),
        "share_kept": round(statistics.median(ratios), 4),
        "shares_kept": [round(ratio, 4) for ratio in ratios],
        "others_failures": others.failures[:5],
        "others_different": others.different,
        "flood_answers": flood.answers,
        "flood_tokens": flood.tokens,
        "tokens_at_its_share": at_share.tokens,
        "flood_refusals": len(flood.failures),
        "others_inter_token_ms": percentiles(others.gaps),
    }
    print(json.dumps(document, indent=2))
    print(f"written: {results.write(document, 'serve-fairness', arguments.output)}")
    return int(bool(others.failures or others.different))


if __name__ == "__main__":
    sys.exit(main())
