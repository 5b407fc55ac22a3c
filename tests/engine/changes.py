"""What may be done with a sequence while tokens stand ahead of it: the sequence to go on with."""

from __future__ import annotations

from realm.config import SamplingParameters
from realm.engine import Engine
from realm.model import StoredModel


def other_policy(engine: Engine, number: int) -> int:
    engine.sample(number, SamplingParameters(temperature=1.5, seed=4))
    engine.step()
    return number


def other_tokens(engine: Engine, number: int) -> int:
    engine.append(number, [200, 201])
    return number


def rewind(engine: Engine, number: int) -> int:
    engine.rewind(number, engine.position(number) - 3)
    return number


def fork(engine: Engine, number: int) -> int:
    copy = engine.fork(number)
    engine.append(copy, [7, 8])
    return copy


def assert_goes_on_as(
    engine: Engine, number: int, plain: Engine, model: StoredModel, more: int = 0
) -> None:
    """The sequence goes on as its tokens do in an engine without drafts. more: see `sample`."""
    other = plain.open(model, "a")
    plain.append(other, engine._find(number)[1].tokens)
    policy = SamplingParameters(temperature=0.0)
    for _ in range(30):
        found = []
        for each, which in ((engine, number), (plain, other)):
            each.sample(which, policy, more=more)
            while not (outputs := each.step()):
                pass
            found.append(outputs[0].token_ids)
        assert found[0] == found[1]
