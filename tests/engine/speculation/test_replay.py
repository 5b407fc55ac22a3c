"""The whole loop against a target that is a function: the text is the plain one, counts exact."""

import random
from collections.abc import Callable, Sequence

import pytest

from realm.config import SpeculativeConfig
from realm.engine.speculation import (
    Draft,
    DraftCandidate,
    DraftLimits,
    RowCost,
    SequenceSpeculation,
    Source,
    SourceCounts,
    TenantSpeculation,
    count_accepted,
    plan_drafts,
)

Target = Callable[[Sequence[int]], int]
END = 0
LENGTH = 300


def echo(period: int, noise: int) -> Target:
    """Copies what stood `period` tokens before, with another token now and then."""

    def next_token(tokens: Sequence[int]) -> int:
        if len(tokens) % noise == 0 or len(tokens) < period:
            return 1 + (len(tokens) * 7919 + sum(tokens[-3:])) % 40
        return tokens[-period]

    return next_token


def scattered(tokens: Sequence[int]) -> int:
    """No repetition but by chance."""
    return 1 + random.Random(len(tokens) * 1_000_003 + sum(tokens)).randrange(4000)


def stopping(tokens: Sequence[int]) -> int:
    """Goes round, then ends in the middle of what a draft would go on with."""
    return END if len(tokens) == 100 else 1 + len(tokens) % 9


TARGETS = {
    "loop": echo(17, 10**6),
    "edit": echo(40, 11),
    "random": scattered,
    "stopping": stopping,
}


def plain(target: Target, prompt: list[int]) -> list[int]:
    tokens = list(prompt)
    while len(tokens) < LENGTH and tokens[-1] != END:
        tokens.append(target(tokens))
    return tokens


def verify(target: Target, tokens: list[int], drafted: tuple[int, ...]) -> list[int]:
    """What one step samples and the sequence takes: up to the first draft that is wrong."""
    rows = tokens + list(drafted)
    sampled = [target(rows[: len(tokens) + row]) for row in range(len(drafted) + 1)]
    taken = sampled[: count_accepted(drafted, tuple(sampled)) + 1]
    if END in taken:
        del taken[taken.index(END) + 1 :]
    return taken[: LENGTH - len(tokens)]


def accepted_of(drafted: tuple[int, ...], expected: list[int]) -> int:
    """Counted without the code under test: how long both are the same."""
    return next(
        (at for at, each in enumerate(drafted) if at >= len(expected) or expected[at] != each),
        len(drafted),
    )


@pytest.mark.parametrize("count", range(1, 9))
@pytest.mark.parametrize("name", TARGETS)
def test_the_text_is_the_plain_one_and_every_count_is_exact(name: str, count: int) -> None:
    target, prompt = TARGETS[name], [3, 1, 4, 1, 5]
    expected = plain(target, prompt)
    tenant = TenantSpeculation(SpeculativeConfig(draft_k=count))
    for visit in range(2):  # the second finds the first one's output in the history
        speculation, tokens = SequenceSpeculation(tenant), list(prompt)
        before, drafted, lengths = tenant.metrics, 0, dict.fromkeys(range(count + 1), 0)
        while len(tokens) < LENGTH and tokens[-1] != END:
            draft = speculation.propose(tokens, count)
            verified = draft.token_ids if draft else ()
            assert len(verified) <= count
            taken = verify(target, tokens, verified)
            if draft is not None:
                accepted = accepted_of(verified, expected[len(tokens) :])
                drafted += len(verified)
                lengths[accepted] += 1
                assert speculation.settle(draft, len(verified), taken) == accepted
            tokens += taken
        assert tokens == expected
        total = tenant.metrics.total
        assert total.drafted - before.total.drafted == drafted
        assert total.accepted - before.total.accepted == sum(n * c for n, c in lengths.items())
        for length, times in lengths.items():
            assert _at(total, length) - _at(before.total, length) == times
        assert visit == 0 or tenant.metrics.by_source[Source.HISTORY].accepted > 0
        tenant.history.add(tokens[len(prompt) :], lead=prompt)
    if name != "random":
        assert tenant.metrics.by_source[Source.SUFFIX].accepted > LENGTH // 8


def _at(counts: SourceCounts, length: int) -> int:
    return counts.lengths[length] if length < len(counts.lengths) else 0


def test_a_crowd_with_a_shared_step_gets_the_plain_texts() -> None:
    cost = RowCost({rows: max(1.0, rows / 10) for rows in (1, 4, 8, 16, 32, 64)})
    tenant = TenantSpeculation(SpeculativeConfig())
    prompts = [[3, 1, 4, 1, 5 + number] for number in range(6)]
    targets = [TARGETS["loop"], TARGETS["edit"], TARGETS["random"]] * 2
    texts = [list(prompt) for prompt in prompts]
    speculations = [SequenceSpeculation(tenant) for _ in prompts]
    steps = verified_rows = 0
    while open_ones := [number for number in range(6) if len(texts[number]) < LENGTH]:
        drafts: dict[int, Draft] = {}
        for number in open_ones:
            room = LENGTH - len(texts[number]) - 1
            draft = speculations[number].propose(texts[number], room)
            if draft is not None:
                drafts[number] = draft
        candidates = [
            DraftCandidate(number, speculations[number].survivals(draft))
            for number, draft in drafts.items()
        ]
        plan = plan_drafts(
            candidates, cost.seconds, DraftLimits(rows=20), decode_rows=len(open_ones)
        )
        assert sum(plan.values()) <= 20
        for number in open_ones:
            verified = plan.get(number, 0)
            drafted = drafts[number].token_ids[:verified] if verified else ()
            taken = verify(targets[number], texts[number], drafted)
            if number in drafts:
                speculations[number].settle(drafts[number], verified, taken)
            texts[number] += taken
            verified_rows += verified
        steps += 1
    for target, prompt, text in zip(targets, prompts, texts, strict=True):
        assert text == plain(target, prompt)
    metrics = tenant.metrics
    assert metrics.drafted == verified_rows
    assert metrics.accepted > 0.7 * metrics.drafted
    assert steps < LENGTH


def test_useless_drafts_are_given_up_and_learnt_from_without_a_row() -> None:
    tenant = TenantSpeculation(SpeculativeConfig())
    speculation = SequenceSpeculation(tenant)
    draw, tokens = random.Random(1), [1]
    cost, limits = RowCost({1: 1.0}), DraftLimits()
    drafted_late = 0
    for position in range(2000):
        draft = speculation.propose(tokens, 8)
        verified, token = 0, draw.randrange(12)
        if draft is not None:
            candidate = DraftCandidate(1, speculation.survivals(draft))
            verified = plan_drafts([candidate], cost.seconds, limits, decode_rows=1).get(1, 0)
            speculation.settle(draft, verified, [token])
        tokens.append(token)
        drafted_late += verified * (position >= 200)
    assert drafted_late < 100


def test_a_rewound_sequence_drafts_from_what_is_left() -> None:
    tenant = TenantSpeculation(SpeculativeConfig())
    speculation = SequenceSpeculation(tenant)
    tokens = [1, 2, 3, 4, 1, 2]
    before = speculation.propose(tokens, 2)
    assert before is not None
    assert before.token_ids == (3, 4)
    speculation.truncate(2)
    assert speculation.propose([1, 2], 2) is None
    again = speculation.propose([1, 2, 9, 1, 2], 2)
    assert again is not None
    assert again.token_ids == (9, 1)


def test_switches_and_limits_of_the_configuration() -> None:
    tokens = [1, 2, 3, 1, 2]

    def proposed(most: int = 8, **fields: int) -> Draft | None:
        tenant = TenantSpeculation(SpeculativeConfig(**fields))
        tenant.history.add([7, 1, 2, 8, 9])
        return SequenceSpeculation(tenant).propose(tokens, most)

    assert proposed(draft_k=0) is None
    assert proposed(0) is None
    assert proposed(suffix=False, history_tokens=0) is None
    assert proposed(suffix=False) == Draft(Source.HISTORY, (8, 9), (2, 3))
    assert proposed(history_entries=0, draft_k=2) == Draft(Source.SUFFIX, (3, 1), (2, 3))
    assert proposed(1, history_entries=0) == Draft(Source.SUFFIX, (3,), (2,))


def test_a_longer_match_in_the_history_is_preferred() -> None:
    tenant = TenantSpeculation(SpeculativeConfig())
    tenant.history.add([4, 5, 6, 7, 8, 9])
    draft = SequenceSpeculation(tenant).propose([6, 1, 4, 5, 6], 3)
    assert draft == Draft(Source.HISTORY, (7, 8, 9), (3, 4, 5))
