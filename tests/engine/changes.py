"""What may be done with a sequence while tokens stand ahead of it: the sequence to go on with."""

from __future__ import annotations

from realm.config import SamplingParameters
from realm.engine import Engine


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
