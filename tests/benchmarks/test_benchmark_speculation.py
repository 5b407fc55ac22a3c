"""The speculation workloads are whole, and the replay of plain answers counts what it should."""

from pathlib import Path

import pytest
import suffix_oracle

from realm.cli import workload_texts
from realm.cli.workload_texts import WORKLOADS
from realm.config import SpeculativeConfig

COST = {rows: max(1.0, rows / 8) for rows in range(1, 65)}


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_has_prompts_that_differ(workload: str) -> None:
    prompts = workload_texts.prompts(workload)
    assert len(prompts) >= 6
    assert len({each.text for each in prompts}) == len({each.name for each in prompts})
    assert {each.workload for each in prompts} == {workload}
    assert all("\n---" not in each.text for each in prompts)
    if workload in ("extract", "edit"):
        assert all(300 <= len(each.text.split()) <= 800 for each in prompts)


def test_a_file_without_requests_and_an_unknown_workload_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "one.txt").write_text("a document\n---\n\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"one\.txt"):
        workload_texts.prompts("bad", tmp_path)
    with pytest.raises(ValueError, match="no workload"):
        workload_texts.prompts("missing", tmp_path)


@pytest.mark.parametrize(
    ("output", "begin"),
    [
        ([1, 2, 3, 4], 4),
        ([1, 2, 3, 2, 3], 5),  # twice is no loop
        ([9, 1, 2, 3, 1, 2, 3, 1, 2, 3], 4),
        ([9, 9, 5, 5, 5, 5], 3),
        ([], 0),
    ],
)
def test_a_loop_begins_where_the_end_is_there_for_the_second_time(
    output: list[int], begin: int
) -> None:
    assert suffix_oracle.loop_begin(output) == begin


def answer(prompt: list[int], output: list[int]) -> dict[str, object]:
    return {"prompt": prompt, "output": output}


def test_a_copied_answer_takes_few_steps_and_every_token_is_counted() -> None:
    text = list(range(100, 140))
    config = SpeculativeConfig(draft_k=7)
    steps, seconds, metrics = suffix_oracle.replay([answer([*text, 5, 99], text)], config, COST)
    # The first token has nothing to go by; each later step brings eight, the last one the rest.
    assert steps == 1 + 5
    assert seconds == pytest.approx(6.0)
    assert metrics.drafted == metrics.accepted == len(text) - steps


def test_without_repetition_a_step_brings_one_token() -> None:
    config = SpeculativeConfig()
    steps, seconds, metrics = suffix_oracle.replay(
        [answer([1, 2, 3], list(range(10, 40)))], config, COST
    )
    assert (steps, seconds, metrics.drafted) == (30, 30.0, 0)


def test_a_second_answer_that_is_the_first_one_comes_from_the_history() -> None:
    answers = [answer([1, 2, 3], list(range(10, 42)))] * 2
    config = SpeculativeConfig(draft_k=7)
    with_history, _, metrics = suffix_oracle.replay(answers, config, COST)
    without, _, _ = suffix_oracle.replay(answers, SpeculativeConfig(history_tokens=0), COST)
    assert (with_history, without) == (32 + 4, 64)
    assert metrics.accepted == 28


def test_a_fixed_count_verifies_whether_it_pays_or_not() -> None:
    draws = [(7 * each * each + each) % 11 for each in range(200)]
    answers = [answer([1], [each // 2 + draws[each] for each in range(200)])]
    config = SpeculativeConfig()
    steps, seconds, fixed = suffix_oracle.replay(answers, config, COST, fixed=12)
    chosen_steps, chosen_seconds, chosen = suffix_oracle.replay(answers, config, COST)
    for count, metrics in ((steps, fixed), (chosen_steps, chosen)):
        assert metrics.accepted == 200 - count
    assert fixed.drafted > chosen.drafted
    assert seconds > chosen_seconds
