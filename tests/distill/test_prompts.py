"""The made-up prompts: the same again, of many kinds, and none of a benchmark's texts."""

import itertools
import re
from random import Random

from realm.cli.workload_texts import WORKLOADS, prompts
from realm.distill.prompts import PromptMaker

_ANSWER = "It is warm. " * 12


def _conversations(seed, count):
    maker = PromptMaker(Random(seed))
    for index in range(count):
        messages = maker.next()
        if index % 3 == 0:
            maker.remember(messages[0]["content"], f"{index} {_ANSWER}")
        yield messages


def test_same_numbers_make_the_same_prompts():
    assert list(_conversations(5, 300)) == list(_conversations(5, 300))
    assert list(_conversations(5, 300)) != list(_conversations(6, 300))


def test_conversations_end_with_the_user():
    made = list(_conversations(1, 2000))
    assert {len(each) for each in made} == {1, 3}
    for messages in made:
        roles = [message["role"] for message in messages]
        assert roles == ["user", "assistant", "user"][-len(roles) :]
        assert not re.search(r"[{}]", messages[-1]["content"])
    texts = [each[-1]["content"] for each in made if len(each) == 1]
    assert len(set(texts)) > 0.8 * len(texts)
    assert any(_ANSWER.strip()[:40] in each for each in texts)


def test_no_text_of_a_benchmark_is_asked_about():
    made = "\n".join(message["content"] for each in _conversations(1, 3000) for message in each)
    asked = [
        sentence.strip()
        for workload in WORKLOADS
        for prompt in prompts(workload)
        for sentence in re.split(r"(?<=[.?!])\s|\n", prompt.text)
    ]
    sentences = [each for each in asked if len(each) > 30]
    assert len(sentences) > 100
    assert not [each for each in sentences if each in made]


def test_oldest_answers_make_room():
    maker = PromptMaker(Random(2))
    for index in range(400):
        maker.remember("Why?", str(index))
    assert len(maker.said) == 256
    assert len(set(itertools.chain(maker.said))) == 256
