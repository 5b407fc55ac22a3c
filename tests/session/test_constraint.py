"""Constraints on a vocabulary of bytes: masks, ends, ways back, and what is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.tiny_model import TinyModel

from realm.config import EngineConfig, GenerationOptions, SamplingParameters
from realm.engine import Engine
from realm.errors import ConfigError, ConstraintError
from realm.model import ModelStorage, StoredModel
from realm.session import InferenceSession
from realm.session.constraint import Constraint, ConstraintCompiler

SCHEMA = {
    "type": "object",
    "properties": {
        "a": {"type": "integer", "minimum": 0, "maximum": 99},
        "b": {"enum": ["x", "y"]},
    },
    "required": ["a", "b"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> StoredModel:
    path = TinyModel().write(tmp_path_factory.mktemp("constraint") / "tiny.gguf")
    return ModelStorage(threads=1).load(path)


@pytest.fixture(scope="module")
def compiler() -> ConstraintCompiler:
    return ConstraintCompiler()


@pytest.fixture(scope="module")
def constrain(model: StoredModel, compiler: ConstraintCompiler):
    def make(**options: str) -> Constraint:
        found = compiler.compile(model, GenerationOptions(**options))
        assert found is not None
        return found

    return make


def allowed_texts(constraint: Constraint, model: StoredModel) -> set[str]:
    """The tokens of a mask as text; an end-of-generation token is "<end>"."""
    bits = np.unpackbits(constraint.allowed().view(np.uint8), bitorder="little")
    ends = model.tokenizer.end_of_generation_ids
    return {
        "<end>" if token in ends else model.tokenizer.decode([token], continuation=True)
        for token in np.flatnonzero(bits).tolist()
    }


def feed(constraint: Constraint, model: StoredModel, text: str) -> None:
    for token in model.tokenizer.encode(text, add_special=False):
        constraint.accept(token)


def test_a_mask_holds_what_may_come_and_the_end_only_where_it_may(constrain, model) -> None:
    constraint = constrain(regex="ab?[0-9]{1,2}")
    assert allowed_texts(constraint, model) == {"a"}
    feed(constraint, model, "a")
    assert allowed_texts(constraint, model) == {"b", *"0123456789"}
    feed(constraint, model, "7")
    assert not constraint.complete
    assert allowed_texts(constraint, model) == {"<end>", *"0123456789"}
    feed(constraint, model, "1")
    assert constraint.complete
    assert allowed_texts(constraint, model) == {"<end>"}


def test_a_token_that_is_not_allowed_is_refused(constrain, model) -> None:
    constraint = constrain(regex="ab")
    assert constraint.admits(model.tokenizer.encode("ab", add_special=False))
    assert not constraint.admits(model.tokenizer.encode("ac", add_special=False))
    with pytest.raises(ConstraintError, match=r"does not allow token|doesn't satisfy"):
        feed(constraint, model, "x")


def test_it_can_go_back_and_be_copied(constrain, model) -> None:
    constraint = constrain(regex="(ab|cd)z")
    feed(constraint, model, "a")
    copy = constraint.copy()
    feed(constraint, model, "bz")
    assert constraint.complete
    assert allowed_texts(copy, model) == {"b"}
    constraint.rewind(0)
    assert allowed_texts(constraint, model) == {"a", "c"}
    feed(constraint, model, "cdz")
    assert constraint.complete
    assert copy.accepted == 1


def test_a_grammar_is_followed(constrain, model) -> None:
    constraint = constrain(grammar='start: "(" start ")" | "x"')
    feed(constraint, model, "((x)")
    assert allowed_texts(constraint, model) == {")"}
    feed(constraint, model, ")")
    assert constraint.complete


def run(model: StoredModel, **options: object) -> tuple[str, str, InferenceSession]:
    engine = Engine(EngineConfig(threads=1, cache_bytes=32 << 20))
    session = InferenceSession(engine, model, [5, 6, 7], GenerationOptions(**options), "a")
    session.start()
    text = ""
    while not session.finished:
        for output in engine.step():
            text += "".join(piece.text for piece in session.advance(output))
    return text, session.finish_reason, session


@pytest.mark.parametrize("seed", range(5))
def test_a_session_draws_what_satisfies_the_schema_and_ends(model, seed: int) -> None:
    text, reason, session = run(
        model,
        json_schema=json.dumps(SCHEMA),
        sampling=SamplingParameters(temperature=1.0, top_p=1.0, seed=seed, logprobs=1),
    )
    document = json.loads(text)
    assert reason == "stop"
    assert 0 <= document["a"] <= 99 and document["b"] in ("x", "y")
    assert session.logprobs is not None
    assert [each.token_id for each in session.logprobs] == list(session.token_ids)


def test_the_length_still_ends_it(model) -> None:
    text, reason, _ = run(model, regex="[ab]{50}", max_tokens=7)
    assert reason == "length"
    assert re.fullmatch("[ab]{7}", text)


def test_an_empty_output_can_be_all_that_is_allowed(model) -> None:
    assert run(model, regex="")[:2] == ("", "stop")


def test_ignoring_the_end_does_not_run_past_it(model) -> None:
    text, reason, _ = run(model, regex="[ab]{3}", ignore_eos=True)
    assert reason == "stop"
    assert re.fullmatch("[ab]{3}", text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regex": "a("}, "regex: .*unclosed group"),
        ({"regex": r"(a)\1"}, "regex: .*backreferences"),
        ({"json_schema": "{"}, "json_schema: not JSON"),
        ({"json_schema": "NaN"}, "json_schema: not JSON"),
        ({"json_schema": "3"}, "json_schema: a schema is an object"),
        ({"json_schema": "false"}, "json_schema: .*false"),
        ({"json_schema": '{"type":"nothing"}'}, "json_schema: .*nothing"),
        ({"json_schema": '{"$ref":"#"}'}, "json_schema: no text satisfies it"),
        ({"json_schema": '{"$ref":"http://example.com/a"}'}, "json_schema: .*retrieving"),
        ({"json_schema": '{"x-guidance":3}'}, "json_schema: x-guidance"),
        ({"grammar": "start: nothing"}, "grammar: .*nothing"),
        ({"grammar": 'other: "a"'}, "grammar: .*start"),
        ({"grammar": "start: start"}, "grammar: no text satisfies it"),
        ({"grammar": 'start: %json {"type":"string"}'}, "grammar: %json"),
        ({"grammar": '{"grammars":[{"json_schema":{}}]}'}, "grammar: "),
    ],
)
def test_what_cannot_be_used_is_named(constrain, options: dict[str, str], message: str) -> None:
    with pytest.raises(ConstraintError, match=message):
        constrain(**options)


def _nested(depth: int) -> str:
    return '{"items":' * depth + "{}" + "}" * depth


HOSTILE = {
    "deep groups": {"regex": "(" * 30000 + "a" + ")" * 30000},
    "a large repetition": {"regex": "(((a{1,1000}){1,1000}){1,1000}){1,1000}"},
    "many states": {"regex": "(a|b)*a(a|b){3000}x"},
    "a long regex": {"regex": "ab" * 100_000},
    "many alternatives": {"regex": "|".join(f"a{n}b*c" for n in range(9000))},
    "a deep schema": {"json_schema": _nested(10_000)},
    "a schema as deep as it may be": {"json_schema": _nested(60)},
    "many properties": {
        "json_schema": json.dumps(
            {"properties": {f"p{n}": {"type": "string"} for n in range(3000)}}
        )
    },
    "a long array": {"json_schema": '{"type":"array","minItems":1000000000}'},
    "combinations": {
        "json_schema": json.dumps(
            {
                "allOf": [
                    {"anyOf": [{"properties": {f"p{i}_{j}": {"type": "null"}}} for j in range(9)]}
                    for i in range(12)
                ]
            }
        )
    },
    "intersections": {
        "json_schema": json.dumps(
            {"allOf": [{"pattern": f"(a|b)*a(a|b){{{n}}}.*$"} for n in range(1, 40)]}
        )
    },
    "multiples": {"json_schema": '{"multipleOf":1000003}'},
    "several multiples": {
        "json_schema": json.dumps({"allOf": [{"multipleOf": n} for n in (97, 89, 83, 0.79)]})
    },
    "a tiny multiple": {"json_schema": '{"multipleOf":1e-300}'},
    "deep rules": {"grammar": "start: " + "(" * 5000 + '"a"' + ")" * 5000},
    "doubling rules": {
        "grammar": "start: r0\n"
        + "\n".join(f"r{n}: r{n + 1} r{n + 1}" for n in range(500))
        + '\nr500: "a"'
    },
    "an intersection": {
        "grammar": "start: A\nA: " + " & ".join(f"/(a|b)*a(a|b){{{n}}}.*/" for n in range(1, 40))
    },
    "a complement": {"grammar": "start: A\nA: ~/(.*a.{30}.*)/"},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_constraints_are_refused_or_bounded(constrain, name: str) -> None:
    begin = time.process_time()
    try:
        constraint = constrain(**HOSTILE[name])
        for _ in range(20):
            bits = np.unpackbits(constraint.allowed().view(np.uint8), bitorder="little")
            if constraint.complete:
                break
            constraint.accept(int(np.flatnonzero(bits)[-1]))
    except ConstraintError as error:
        assert len(str(error)) < 500
    assert time.process_time() - begin < 5.0


def test_options_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="json_schema and regex"):
        GenerationOptions(json_schema="{}", regex="a")
    with pytest.raises(ConfigError, match="regex must be text"):
        GenerationOptions(regex=3)  # type: ignore[arg-type]


def test_the_library_is_imported_only_when_it_is_needed(model: StoredModel) -> None:
    code = (
        "import sys; from pathlib import Path; from realm.config import GenerationOptions\n"
        "from realm.model import ModelStorage; from realm.session.constraint import *\n"
        f"model = ModelStorage(threads=1).load(Path({str(Path(model.path))!r}))\n"
        "compiler = ConstraintCompiler()\n"
        "assert compiler.compile(model, GenerationOptions()) is None\n"
        "print('llguidance' in sys.modules)\n"
        "compiler.compile(model, GenerationOptions(regex='a'))\n"
        "print('llguidance' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["False", "True"]
