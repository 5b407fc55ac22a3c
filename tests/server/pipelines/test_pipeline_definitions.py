"""Definitions of pipelines: what is taken, and what each wrong one is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from realm.errors import PipelineError, PipelineInputError, PipelineNotFoundError
from realm.server.pipelines import PipelineBook, check_pipeline, read_pipeline
from realm.server.pipelines.definition import Literally, Reference, Template
from realm.server.pipelines.document import MOST_BYTES, parse_document
from realm.server.pipelines.expression import evaluate, read_expression, text_of
from realm.server.pipelines.input_values import checked_inputs

EXAMPLES = Path(__file__).parents[3] / "examples" / "pipelines"

STEP = "{id: a, model_type: chat, input: x}"


def whole(steps: str = f"[{STEP}]", inputs: str = "{}", output: str = "$steps.a.output") -> str:
    return f"id: p\ninputs: {inputs}\nsteps: {steps}\noutput: {output}\n"


def steps(*fields: str) -> str:
    return "[" + ", ".join(f"{{{each}}}" for each in fields) + "]"


WRONG = {
    "empty": ("", "Expected `object`"),
    "a list": ("- a\n", "Expected `object`"),
    "text": ("hello", "Expected `object`"),
    "no id": (f"steps: [{STEP}]\noutput: $steps.a.output", "field `id`"),
    "an id with a slash": (whole().replace("id: p", "id: ../p"), "id: "),
    "an id that is a number": (whole().replace("id: p", "id: 7"), "id: Expected `str`"),
    "a field too many": (whole() + "model: small\n", "unknown field `model`"),
    "no steps": (whole("[]"), "steps: Expected `array`"),
    "steps that are an object": (whole("{a: b}"), "steps: Expected `array`"),
    "65 steps": (whole(f"[{', '.join([STEP] * 65)}]"), "steps: Expected `array`"),
    "no output": (f"id: p\nsteps: [{STEP}]\n", "field `output`"),
    "an output that is text": (whole(output="hello"), "output: must be a reference"),
    "an output of null": (whole(output="~"), "output: must be"),
    "an empty output": (whole(output="{}"), "output: must be"),
    "an output of nothing": (whole(output="$steps.b.output"), "$steps.b.output: there is no such"),
    "an output's part": (whole(output="{x: $inputs.q}"), "output.x: $inputs.q: there is no such"),
    "a step that is text": (whole("[a]"), "step 1: Expected `object`"),
    "a step without an id": (whole(steps("model_type: chat, input: x")), "step 1: "),
    "an id with a dot": (whole(steps("id: a.b, model_type: chat, input: x")), "'a.b': id: "),
    "no input": (whole(steps("id: a, model_type: chat")), "step 'a': "),
    "no model": (whole(steps("id: a, input: x")), "step 'a': a step needs `model`"),
    "a kind of model": (whole(steps("id: a, model_type: image, input: x")), "'a': model_type: "),
    "a model's type": (whole(steps("id: a, model: [x], input: x")), "'a': model: Expected `str"),
    "a step's field": (whole(steps("id: a, model: m, input: x, tool: y")), "'a': "),
    "an option": (whole(steps("id: a, model: m, input: x, options: {heat: 1}")), "'a': options: "),
    "an option's type": (
        whole(steps("id: a, model: m, input: x, options: {max_tokens: many}")),
        "step 'a': options: max_tokens: Expected `int",
    ),
    "an option's range": (
        whole(steps("id: a, model: m, input: x, options: {temperature: -1}")),
        "step 'a': options: temperature: ",
    ),
    "two constraints": (
        whole(steps("id: a, model: m, input: x, options: {regex: a, grammar: b}")),
        "step 'a': options: regex and grammar exclude each other",
    ),
    "options of a vector": (
        whole(steps("id: a, model_type: embedding, input: x, options: {max_tokens: 3}")),
        "step 'a': options: an embedding has none",
    ),
    "an adapter of a vector": (
        whole(steps("id: a, model_type: embedding, model: 'm:b', input: x")),
        "step 'a': model: embeddings have no adapters",
    ),
    "a system message of a completion": (
        whole(steps("id: a, model_type: completion, input: x, system: y")),
        "step 'a': system: only a chat",
    ),
    "two adapters": (
        whole(steps("id: a, model: 'm:b', input: x, options: {adapter: c}")),
        "step 'a': options.adapter: the model names",
    ),
    "an unknown input": (
        whole(steps("id: a, model: m, input: $inputs.x")),
        "step 'a': input: $inputs.x: there is no such input",
    ),
    "an unknown step": (
        whole(steps("id: a, model: m, input: '{{ steps.z.output }}'")),
        "step 'a': input: $steps.z.output: there is no such step",
    ),
    "a later step": (
        whole(
            steps("id: a, model: m, input: $steps.b.output", "id: b, model: m, input: x"),
        ),
        "step 'a': input: $steps.b.output: a later step",
    ),
    "itself": (
        whole(steps("id: a, model: m, input: $steps.a.output")),
        "step 'a': input: $steps.a.output: the steps wait for each other: a -> a",
    ),
    "a ring": (
        whole(
            steps(
                "id: a, model: m, input: $steps.c.output",
                "id: b, model: m, input: $steps.a.output",
                "id: c, model: m, input: $steps.b.output",
            ),
        ),
        "the steps wait for each other: a -> c -> b -> a",
    ),
    "an id twice": (whole(f"[{STEP}, {STEP}]"), "step 'a': id: two steps"),
    "a vector in a text": (
        whole(
            steps(
                "id: a, model_type: embedding, input: x",
                "id: b, model_type: chat, input: 'v {{ steps.a.output }}'",
            )
        ),
        "step 'b': input: $steps.a.output: a vector is not text",
    ),
    "a reference cut": (whole(steps("id: a, model: m, input: $inputs")), "neither $inputs.NAME"),
    "a reference to a field": (
        whole(steps("id: a, model: m, input: $steps.a.usage")),
        "neither $inputs.NAME",
    ),
    "a reference into Python": (
        whole(steps("id: a, model: m, input: '{{ inputs.__class__.__mro__ }}'")),
        "step 'a': input: ",
    ),
    "a template that calls": (
        whole(
            steps("id: a, model: m, input: \"{{ cycler.__init__.__globals__.os.popen('id') }}\"")
        ),
        "step 'a': input: ",
    ),
    "a template that counts": (
        whole(steps("id: a, model: m, input: '{{ 7 * 7 }}'")),
        "step 'a': input: ",
    ),
    "an open template": (whole(steps("id: a, model: m, input: '{{ inputs.x'")), "is not closed"),
    "an empty template": (whole(steps("id: a, model: m, input: '{{ }}'")), "neither"),
    "an input's object": (
        whole(steps("id: a, model: m, input: {value: 1, template: x}")),
        "step 'a': input: an object here has one of",
    ),
    "an input's number": (
        whole(steps("id: a, model: m, input: {reference: 5}")),
        "step 'a': input: a reference is text",
    ),
    "an input without a type": (whole(inputs="{x: 5}"), "input 'x': Expected `object`"),
    "an input's field": (whole(inputs="{x: {kind: string}}"), "input 'x': "),
    "an input's type": (whole(inputs="{x: {type: text}}"), "input 'x': type: "),
    "an input's name": (whole(inputs="{a b: {type: string}}"), "inputs"),
    "a default of another type": (
        whole(inputs="{x: {type: integer, default: 1.5}}"),
        "input 'x': default: ",
    ),
    "true as a number": (whole(inputs="{x: {type: number, default: true}}"), "default: "),
    "a default that is required": (
        whole(inputs="{x: {default: a, required: true}}"),
        "input 'x': required: ",
    ),
    "an anchor": ("id: &a p\n", "anchors and aliases are not taken"),
    "an alias": ("a: &x [1]\nb: *x\n", "anchors and aliases are not taken"),
    "a billion laughs": (
        "a: &a [x]\n" + "".join(f"a{n}: &a{n} [*a, *a]\n" for n in range(20)),
        "anchors and aliases",
    ),
    "Python's tag": ("id: !!python/object/apply:os.system ['true']\n", "tags are not taken"),
    "a tag": ("id: !!str p\n", "tags are not taken"),
    "a tag of its own": ("id: !include /etc/passwd\n", "tags are not taken"),
    "a merge key": (whole() + "<<: {name: x}\n", "merge keys are not taken"),
    "a key twice": (whole() + "id: q\n", "line 5: the key 'id' stands twice"),
    "a key that is a number": ("1: a\n", "a key must be text"),
    "a key that is a list": ("? [a]\n: b\n", "a key must be text"),
    "two documents": (whole() + "---\n" + whole(), "a file is one document"),
    "a date": (whole(inputs="{x: {default: 2020-01-01}}"), "put quotes around a date"),
    "infinity": (whole(inputs="{x: {type: number, default: .inf}}"), "not a value of JSON"),
    "not a number": (whole(inputs="{x: {type: number, default: .nan}}"), "not a value of JSON"),
    "a huge number": ("id: " + "9" * 10_000 + "\n", "not YAML"),
    "deep lists": ("a: " + "[" * 100_000, "nested too deeply"),
    "deep objects": ("{a: " * 50_000, "nested too deeply"),
    "many values": ("a: [" + "1, " * 30_000 + "1]\n", "more than 20000 values"),
    "too long": ("# " + "x" * MOST_BYTES, "longer than"),
    "tabs": ("id:\n\t- a\n", "not YAML in line 2"),
    "a control character": ("id: \x01\n", "not YAML"),
    "cut": ('id: "p\n', "not YAML"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_definitions(name: str) -> None:
    text, told = WRONG[name]
    with pytest.raises(PipelineError) as error:
        check_pipeline(parse_document(text.encode(), "wrong.yaml", is_json=False), "wrong.yaml")
    assert str(error.value).startswith("wrong.yaml: ")
    assert told in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"id": NaN}', "NaN is not a value"),
        (b'{"id": 1e999}', "not a value of JSON"),
        (b'{"id": 1, "id": 2}', "the key 'id' stands twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 100 + b"]" * 100, "nested too deeply"),
        (b"[" + b"1," * 30_000 + b"1]", "more than 20000 values"),
        (b'{"id": "\xff"}', "not UTF-8 at byte 8"),
        (b"9" * 10_000, "not JSON"),
        (b"id: p", "not JSON"),
    ],
)
def test_wrong_json(data: bytes, told: str) -> None:
    with pytest.raises(PipelineError, match=r"^wrong\.json: ") as error:
        parse_document(data, "wrong.json", is_json=True)
    assert told in str(error.value)


def test_a_definition_in_yaml_and_json() -> None:
    text = whole(
        steps(
            "id: a, model_type: chat, input: '{{inputs.x}} and {{ inputs.x }}', system: s",
            "id: b, model: m, input: $steps.a.output, options: {max_tokens: 3, adapter: pirate}",
        ),
        "{x: {type: string, description: d}, y: {type: integer, default: 3}}",
        "{both: '{{ steps.a.output }} {{ steps.b.output }}', y: $inputs.y}",
    )
    document = parse_document(text.encode(), "p.yaml", is_json=False)
    assert parse_document(json.dumps(document).encode(), "p.json", is_json=True) == document
    pipeline = check_pipeline(document, "p.yaml")
    assert (pipeline.pipeline_id, pipeline.name) == ("p", "p")
    first, second = pipeline.steps
    x = Reference("inputs", "x")
    assert first.value == Template((x, " and ", x))
    assert (first.system, first.needs) == (Literally("s"), frozenset())
    assert (second.value, second.needs) == (Reference("steps", "a"), {"a"})
    assert (second.model, second.model_type) == ("m", "chat")
    assert second.options is not None
    assert (second.options.max_tokens, second.options.adapter) == (3, "pirate")
    assert pipeline.inputs["x"].is_required and not pipeline.inputs["y"].is_required
    told = pipeline.document()
    assert [each["id"] for each in told["steps"]] == ["a", "b"]
    assert "and" not in json.dumps(told["steps"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ("$inputs.x", "X"),
        ("{{inputs.x}}", "X"),
        ("a {{ inputs.x }}{{ steps.s.output }} b", "a Xout b"),
        ({"value": "$inputs.x"}, "$inputs.x"),
        ({"value": "{{ inputs.x }}"}, "{{ inputs.x }}"),
        ({"template": "$5 {{ inputs.x }}"}, "$5 X"),
        ({"reference": "$steps.s.output"}, "out"),
        ("}} {x}", "}} {x}"),
        (5, 5),
        ("n {{ inputs.number }} {{ inputs.nothing }} {{ inputs.list }}", 'n 1.5  ["é"]'),
        ("{{ inputs.sly }}", "{{ inputs.x }} $inputs.x"),
    ],
)
def test_expressions(value: object, expected: object) -> None:
    inputs = {
        "x": "X",
        "number": 1.5,
        "nothing": None,
        "list": ["é"],
        "sly": "{{ inputs.x }} $inputs.x",
    }
    assert evaluate(read_expression(value), inputs, {"s": "out"}) == expected


def test_a_text_that_would_grow_too_long() -> None:
    expression = read_expression("{{ inputs.x }}" * 1000)
    with pytest.raises(PipelineError, match="longer than"):
        evaluate(expression, {"x": "x" * 1_000_000}, {})


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "input.text"),
        ({"text": None}, "input.text"),
        ({"text": 5}, "input.text"),
        ({"text": "x", "count": "3"}, "input.count"),
        ({"text": "x", "count": True}, "input.count"),
        ({"text": "x", "count": 1.5}, "input.count"),
        ({"text": "x", "other": 1}, "input.other"),
        ({"text": "x", "y" * 10_000: 1}, "input." + "y" * 64),
        (["x"], "input"),
        (5, "input"),
        (None, "input"),
    ],
)
def test_wrong_inputs_are_named(given: object, field: str) -> None:
    inputs = "{text: {type: string}, count: {type: integer, default: 2}, z: {required: false}}"
    pipeline = check_pipeline(
        parse_document(whole(inputs=inputs).encode(), "p.yaml", is_json=False), "p.yaml"
    )
    assert checked_inputs(pipeline, "x") == {"text": "x", "count": 2, "z": None}
    assert checked_inputs(pipeline, {"text": "x", "count": 5})["count"] == 5
    with pytest.raises(PipelineInputError) as error:
        checked_inputs(pipeline, given)
    assert error.value.field == field


def test_the_examples_are_good() -> None:
    book = PipelineBook(EXAMPLES)
    assert [each.pipeline_id for each in book.list()] == ["contact", "summary", "two-views"]
    assert book.get("two-views").steps[2].needs == {"for", "against"}


def test_a_folder_of_pipelines(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(whole())
    (tmp_path / "a.yml").write_text(whole().replace("id: p", "id: a"))
    (tmp_path / ".hidden.yaml").write_text("[")
    (tmp_path / "notes.txt").write_text("[")
    (tmp_path / "folder.yaml").mkdir()
    book = PipelineBook(tmp_path)
    assert [each.pipeline_id for each in book.list()] == ["a", "p"]
    assert book.get("p").steps[0].step_id == "a"
    for missing in ("q", "../p", "x" * 10_000):
        with pytest.raises(PipelineNotFoundError):
            book.get(missing)
    assert PipelineBook().list() == []


def test_every_bad_file_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(whole())
    (tmp_path / "b.yaml").write_text(whole())
    (tmp_path / "c.json").write_text("{")
    (tmp_path / "d.yaml").write_text("id: &x 1")
    with pytest.raises(PipelineError) as error:
        PipelineBook(tmp_path)
    lines = str(error.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["b.yaml", "c.json", "d.yaml"]
    assert "a.yaml has the id 'p' already" in lines[0]


def test_folders_and_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="cannot be read"):
        PipelineBook(tmp_path / "nothing")
    with pytest.raises(PipelineError, match=r"nothing\.yaml: cannot be read"):
        read_pipeline(tmp_path / "nothing.yaml")
    with pytest.raises(PipelineError, match=r"ends in \.yaml"):
        read_pipeline(tmp_path / "nothing.toml")


def test_a_value_that_is_nested_too_deeply_to_be_told_is_an_error_of_the_pipeline():
    value: list = []
    for _ in range(100_000):
        value = [value]
    try:
        with pytest.raises(PipelineError, match="nested too deeply"):
            text_of(value)
    finally:
        while value:  # taken apart step by step
            value = value.pop()
