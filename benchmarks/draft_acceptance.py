"""How many tokens of plain answers a draft model foretells: agreement and accepted length.

    python benchmarks/draft_acceptance.py --draft drafts/smollm2-135m-instruct.gguf
        [--workload chat extract edit code json] [--tokens 300] [--model NAME|PATH]

Each prompt of `texts` is answered by plain greedy decoding. Then the draft, read by Realm from its
file, foretells every token of every answer (`realm.distill.acceptance`): no draft changes a text,
so this counts exactly what verification would accept at each place. A small model often ends in a
loop, which is easily foretold: --cut-loops takes such ends away. No clock is read.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import command_line
import numpy as np
import results
from suffix_oracle import read_answers

from realm.catalog import Catalog
from realm.cli.workload_texts import WORKLOADS
from realm.distill.acceptance import Acceptance, count_acceptance, foretold
from realm.model import DraftModel, ModelStorage, StoredModel, match_draft


def measure(target: StoredModel, draft: DraftModel, answers: list[dict[str, Any]]) -> Acceptance:
    """Over all places of the answers of one workload."""
    found = []
    for answer in answers:
        if answer["output"]:
            tokens, begin = answer["prompt"] + answer["output"], len(answer["prompt"])
            layers = draft.stored.hyperparameters.feature_layers
            features = target.draft_features(tokens[:-1], layers)[begin - 1 :]
            found.append(foretold(draft, np.array(tokens, np.int32), begin, features))
    return count_acceptance(found)


def main() -> int:
    """Decode or read the answers, foretell them, print, write."""
    arguments = _parse()
    head = results.begin()
    path = Catalog().obtain(arguments.model)
    storage = ModelStorage(arguments.threads)
    target = storage.load(path)
    draft = match_draft(target, storage.load(arguments.draft))
    answers = read_answers(arguments, path)
    rows = {}
    for workload in arguments.workload:
        found = measure(target, draft, [each for each in answers if each["workload"] == workload])
        rows[workload] = found.as_dict()
        print(_line(workload, found))
    document = head | {
        "model": path.name,
        "draft": arguments.draft.name,
        "draft_content_hash": draft.stored.content_hash,
        "cut_loops": arguments.cut_loops,
        "workloads": rows,
    }
    print(f"written: {results.write(document, 'draft-acceptance', arguments.output)}")
    return 0


def _line(workload: str, found: Acceptance) -> str:
    lengths = "  ".join(f"{each:.2f} of {k}" for k, each in enumerate(found.accepted_length, 1))
    return f"{workload:8} {found.places:6,} tokens  agreement {found.agreement:5.1%}  {lengths}"


def _parse() -> argparse.Namespace:
    parser = command_line.parser(__doc__, "model", "threads", "output")
    parser.add_argument("--draft", type=Path, required=True, metavar="PATH")
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--tokens", type=int, default=300, help="most tokens of an answer")
    parser.add_argument("--cut-loops", action="store_true", help="without loops at the end")
    parser.add_argument("--record", type=Path, help="write the answers here")
    parser.add_argument("--replay", type=Path, help="read the answers from here")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
