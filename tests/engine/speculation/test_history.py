"""Drafts from a tenant's outputs: bounded, forgotten when asked, never another's."""

from hypothesis import given
from hypothesis import strategies as st

from realm.config import SpeculativeConfig
from realm.engine.speculation import (
    Draft,
    SequenceSpeculation,
    Source,
    TenantHistory,
    TenantSpeculation,
)


def propose(history: TenantHistory, tail: list[int], count: int) -> Draft | None:
    tenant = TenantSpeculation(SpeculativeConfig(suffix=False))
    tenant.history = history
    return SequenceSpeculation(tenant).propose(tail, count)


def test_an_output_is_proposed_where_its_beginning_comes_again() -> None:
    history = TenantHistory()
    history.add([10, 11, 12, 13])
    assert propose(history, [3, 10, 11], 8) == Draft(Source.HISTORY, (12, 13), (2, 3))
    assert propose(history, [3, 13], 8) is None  # nothing stands behind the end of an output
    assert propose(history, [3], 8) is None
    assert propose(history, [10], 0) is None


def test_the_prompts_last_tokens_lead_to_the_first_one() -> None:
    history = TenantHistory()
    history.add([10, 11], lead=[1, 2, 3])
    assert propose(history, [7, 2, 3], 4) == Draft(Source.HISTORY, (10, 11), (2, 3))


def test_a_draft_never_runs_into_the_next_output() -> None:
    history = TenantHistory()
    history.add([1, 2])
    history.add([3, 4])
    assert propose(history, [1], 5) == Draft(Source.HISTORY, (2,), (1,))


def test_the_latest_output_comes_first() -> None:
    history = TenantHistory()
    history.add([1, 2, 3])
    history.add([1, 2, 4])
    draft = propose(history, [1, 2], 1)
    assert draft is not None
    assert draft.token_ids == (4,)


@given(
    st.lists(st.lists(st.integers(0, 9), max_size=30), max_size=40),
    st.integers(1, 100),
    st.integers(1, 12),
)
def test_tokens_and_entries_stay_within_their_limits(
    outputs: list[list[int]], token_limit: int, entry_limit: int
) -> None:
    history = TenantHistory(token_limit, entry_limit)
    for output in outputs:
        history.add(output)
        assert len(history) <= token_limit
        assert history.entry_count <= entry_limit
        assert len(history.index) == len(history) + history.entry_count
        if output:
            assert history._entries[-1] == tuple(output[-token_limit:])
    history.clear()
    assert len(history) == history.entry_count == 0
    assert propose(history, [1], 1) is None


def test_a_limit_of_zero_switches_it_off() -> None:
    for limits in ((0, 8), (8, 0)):
        history = TenantHistory(*limits)
        history.add([1, 2, 3])
        assert len(history) == history.entry_count == 0
        assert propose(history, [1, 2], 4) is None


def test_one_tenants_outputs_never_enter_anothers_drafts() -> None:
    secret = list(range(1000, 1040))
    tenants = [TenantSpeculation(SpeculativeConfig()) for _ in range(2)]
    tenants[0].history.add(secret, lead=[5, 6])
    prompt = [5, 6]
    mine = SequenceSpeculation(tenants[0]).propose(prompt, 8)
    assert mine == Draft(Source.HISTORY, tuple(secret[:8]), tuple(range(2, 10)))
    for length in range(len(secret)):
        others = SequenceSpeculation(tenants[1]).propose(prompt + secret[:length], 8)
        assert others is None
