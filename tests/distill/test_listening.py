"""What a target is heard saying: the same again, also on prompts of its own, and all of it."""

from dataclasses import dataclass

import numpy as np
import pytest
from tests.tiny_model import TinyModel

from realm.distill.listening import Listening, listen
from realm.model import ModelStorage

LAYERS = (2, 0)


@dataclass(frozen=True)
class Chatting(TinyModel):
    """With a template: a user's words stand between two signs."""

    def _write_metadata(self, writer):
        super()._write_metadata(writer)
        writer.add_chat_template("{% for each in messages %}({{ each.content }}){% endfor %}")


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return ModelStorage(1).load(Chatting().write(tmp_path_factory.mktemp("target") / "t.gguf"))


def heard(target, own_share, tokens=300, layers=()):
    options = Listening(
        tokens, 12, at_once=4, own_share=own_share, top=3, prompt_tokens=64, feature_layers=layers
    )
    return listen(target, options, 1, lambda _: None)


@pytest.mark.parametrize("own_share", [0.0, 0.5, 1.0])
def test_the_same_again(target, own_share):
    first, second = heard(target, own_share), heard(target, own_share)
    assert first.output_count >= 300
    assert np.array_equal(first.tokens, second.tokens)
    assert np.array_equal(first.features, second.features)


def test_prompts_of_its_own_stand_where_a_users_do(target):
    (opening,), (closing,) = (target.tokenizer.encode(each) for each in "()")
    prompts = [text.tokens[: text.output_begin].tolist() for text in heard(target, 1.0).texts()]
    assert {each[0] for each in prompts} == {opening}
    assert {each[-1] for each in prompts} == {closing}
    # What a random model says is none of the forms.
    said = [target.tokenizer.decode(each[1:-1]) for each in prompts]
    assert len(set(said)) == len(said)
    assert not any(" the " in each for each in said)


def test_features_and_likeliest_tokens_are_the_targets(target):
    for text in heard(target, 0.5, 40, LAYERS).texts():
        tokens = text.tokens[:-1].tolist()
        begin = text.output_begin - 1
        expected = target.draft_features(tokens, LAYERS)[begin:]
        assert np.allclose(expected[:, 0], target.features(tokens)[begin:], atol=1e-4)
        assert np.abs(text.features - expected).max() < 1e-3 * np.abs(expected).max()
        likeliest = target.logits(tokens)[begin:].argmax(1)
        assert np.array_equal(text.top_tokens[:, 0], likeliest)
        if text.greedy:
            assert np.array_equal(text.output, likeliest)
