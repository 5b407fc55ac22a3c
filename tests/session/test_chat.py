"""Chat templates: the same prompts as transformers, and no way out or around for hostile ones."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from transformers.utils.chat_template_utils import _compile_jinja_template

from realm.errors import ChatTemplateError
from realm.gguf import open_gguf
from realm.session.chat import TEMPLATE_CHARACTERS, ChatTemplate

USER = {"role": "user", "content": "Hello <b> & \"quotes\" 'single' é 你好 {{ 7 * 7 }} {% raw %}"}
SYSTEM = {"role": "system", "content": "  Be brief.\n"}
CONVERSATIONS = {
    "one": [USER],
    "system": [SYSTEM, USER],
    "turns": [SYSTEM, USER, {"role": "assistant", "content": "Yes.\n"}, USER],
    "no system, turns": [USER, {"role": "assistant", "content": " Paris "}, USER],
    "long": [USER, {"role": "assistant", "content": "a"}] * 300 + [USER],
}
# The shape of google/gemma-3's published template, which the test model's file leaves out.
GEMMA = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("roles must alternate") }}
    {%- endif -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}{{ item['text'] | trim }}{%- endfor -%}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}
"""
# Every feature that published templates use, and what Jinja prints in each.
FEATURES = """{%- set ns = namespace(found=false, text='') -%}
{%- macro show(value, depth=0) -%}
  {%- if value is mapping -%}{{ '{' }}{% for key, each in value | dictsort %}{{ key ~ '=' }}
    {{- show(each, depth + 1) }}{{ ', ' if not loop.last }}{% endfor %}{{ '}' }}
  {%- else -%}{{ value | string | upper }}/{{ depth }}{%- endif -%}
{%- endmacro -%}
{% for message in messages[::-1] | list if message.role != 'system' %}
  {%- if loop.index > 3 %}{% break %}{% endif -%}
  {%- set ns.found = true -%}
  {%- set ns.text = ns.text + message.content.split('<b>')[0].strip() + '|' -%}
  {{ loop.index0 }}{{ loop.revindex }}{{ message.content[:5] | replace('H', 'J') | tojson }}
{%- endfor %}
{{ ns.text }}{{ ns.found }} {{ messages | map(attribute='role') | unique | join('/') }}
{{ messages | selectattr('role', 'equalto', 'user') | list | length }}
{{ messages | rejectattr('role', 'in', ['user', 'system']) | list | length }}
{{ {'b': [1, 2.5, none, true], 'a': '<é>'} | tojson(indent=2) }} {{ show({'x': {'y': 'z'}}) }}
{{ "%s-%03d" % ('a', 7) }} {{ "{} {k:>4}".format(1, k='v') }} {{ 'ab' * 3 }} {{ 2 ** 10 % 7 }}
{{ (1, 2) + (3,) }} {{ 'a' in 'abc' }} {{ [1] + [2] == [1, 2] }} {{ missing is defined }}
{{ missing | default('none') }} {{ 'a\nb' | indent(2) }} {{ 3.14159 | round(2) }} {{ '5' | int }}
{{ messages[0].get('name', 'anonymous') }} {{ (tools or []) | length }}
{% generation %}{{ eos_token }}{% endgeneration %}{% filter lower %}ABC{% endfilter %}
{% set block %}x{{ bos_token }}{% endset %}{{ block }} {{ range(3) | list }} {{ 7 // 2 }}
{%- if strftime_now is defined %} {{ strftime_now("%d %b %Y") }}{% endif %}
"""
NOW = datetime(2026, 1, 31, 12, 30)


def reference(source: str, messages: list[dict[str, str]], **variables: object) -> str:
    compiled = _compile_jinja_template(source)
    return compiled.render(messages=messages, bos_token="<s>", eos_token="</s>", **variables)


def template(source: str) -> ChatTemplate:
    return ChatTemplate(source, bos_token="<s>", eos_token="</s>")


def template_of(path: Path) -> str | None:
    with open_gguf(path) as file:
        return file.metadata.get("tokenizer.chat_template")


@pytest.mark.parametrize("conversation", CONVERSATIONS.values(), ids=CONVERSATIONS)
@pytest.mark.parametrize("prompted", [True, False])
def test_smollm2_as_transformers(
    smollm2_path: Path, conversation: list[dict[str, str]], prompted: bool
) -> None:
    source = template_of(smollm2_path)
    assert source is not None
    expected = reference(source, conversation, add_generation_prompt=prompted)
    assert "<|im_start|>" in expected
    assert template(source).render(conversation, add_generation_prompt=prompted) == expected


@pytest.mark.parametrize("conversation", CONVERSATIONS.values(), ids=CONVERSATIONS)
@pytest.mark.parametrize("prompted", [True, False])
def test_gemma_as_transformers(
    gemma3_path: Path, conversation: list[dict[str, str]], prompted: bool
) -> None:
    source = template_of(gemma3_path) or GEMMA
    expected = reference(source, conversation, add_generation_prompt=prompted)
    assert "<start_of_turn>" in expected
    assert template(source).render(conversation, add_generation_prompt=prompted) == expected


@pytest.mark.parametrize("conversation", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_every_feature_as_transformers(conversation: list[dict[str, str]]) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"n": [1, 2]}}}]
    expected = reference(FEATURES, conversation, tools=tools, strftime_now=NOW.strftime)
    assert "31 Jan 2026" in expected
    rendered = template(FEATURES).render(conversation, now=NOW, variables={"tools": tools})
    assert rendered == expected


def test_no_time_without_now() -> None:
    source = "{{ strftime_now('%Y') if strftime_now is defined else 'no clock' }}"
    assert template(source).render([USER]) == "no clock"
    assert template(source).render([USER], now=NOW) == "2026"


def test_user_text_is_not_a_template() -> None:
    prompt = template("{{ messages[0].content }}").render(
        [{"role": "user", "content": "{{ 1+1 }}"}]
    )
    assert prompt == "{{ 1+1 }}"


def test_a_refusal_is_told() -> None:
    with pytest.raises(ChatTemplateError, match="refuses the conversation: roles must alternate"):
        template(GEMMA).render([USER, USER])


def test_variables_do_not_replace_messages() -> None:
    rendered = template("{{ messages | length }}").render([USER], variables={"messages": []})
    assert rendered == "1"


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "at least one message"),
        (["text"], r"messages\[0\] is a str"),
        ([USER, {"content": "x"}], r"messages\[1\] has no role"),
        ([{"role": "user"}], r"messages\[0\] has no content"),
        ([{"role": "user", "content": None}], r"messages\[0\].content is a NoneType"),
        ([{"role": 1, "content": ""}], r"messages\[0\].role is a int"),
        ([{**USER, "extra": object()}], r"messages\[0\].extra is a object"),
        ([{**USER, "extra": {1: 2}}], "key that is not text"),
    ],
)
def test_malformed_messages(messages: list[dict[str, str]], reason: str) -> None:
    with pytest.raises(ChatTemplateError, match=reason):
        template("x").render(messages)


def test_variables_nested_too_deeply() -> None:
    value: object = 1
    for _ in range(40):
        value = [value]
    with pytest.raises(ChatTemplateError, match="nested more than"):
        template("x").render([USER], variables={"value": value})


MALFORMED = {
    "syntax": "{% for %}",
    "unclosed": "{{ 'a",
    "unknown tag": "{% launch %}",
    "unknown filter": "{{ 'a' | launch }}",
    "unused but heavy filter": "{{ 'a' | center(1000000000) }}",
    "unknown test": "{{ 'a' is launched }}",
    "too long": "x" * (TEMPLATE_CHARACTERS + 1),
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}",
    "from import": "{% from 'os' import path %}",
    "extends": "{% extends 'x' %}",
    "autoescape": "{% autoescape true %}x{% endautoescape %}",
    "deep parentheses": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep lists": "{{ " + "[" * 5000 + "]" * 5000 + " }}",
    "deep not": "{{ " + "not " * 20000 + "1 }}",
    "long sum": "{{ " + "1+" * 20000 + "1 }}",
    "deep if": "{% if 1 %}" * 500 + "{% endif %}" * 500,
    "deep for": "{% for x in y %}" * 100 + "{% endfor %}" * 100,
}


@pytest.mark.parametrize("source", MALFORMED.values(), ids=MALFORMED)
def test_malformed_template(source: str) -> None:
    with pytest.raises(ChatTemplateError):
        template(source)


def test_source_that_is_not_text() -> None:
    with pytest.raises(ChatTemplateError, match="is a bytes"):
        ChatTemplate(b"x", bos_token="", eos_token="")  # type: ignore[arg-type]


ESCAPES = {
    "class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "class by filter": "{{ '' | attr('__class__') }}",
    "class by item": "{{ ''['__class__'].__mro__ }}",
    "class by map": "{{ [''] | map(attribute='__class__.__mro__') | list }}",
    "class by format": "{{ '{0.__class__.__mro__}'.format('') }}",
    "class by a held format": "{% set f = '{0.__class__.__mro__}'.format %}{{ f('') }}",
    "class by format_map": "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "class by percent": "{{ '%(a)s' % messages.__class__ }}{{ messages.__class__.__base__ }}",
    "macro globals": "{% macro m() %}{% endmacro %}{{ m.__globals__['os'] }}",
    "function globals": "{{ raise_exception.__globals__['__builtins__'] }}",
    "namespace": "{{ namespace.__init__.__globals__ }}",
    "loop": "{% for x in [1] %}{{ loop._iterable.__class__.__mro__ }}{% endfor %}",
    "self": "{{ self._TemplateReference__context.environment.filters.x.y }}",
    "cycler": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "generator frame": "{{ ([1] | map('string')).gi_frame.f_globals['x'] }}",
    "change messages": "{{ messages.append(1) }}",
    "change a message": "{{ messages[0].update({'role': 'x'}) }}",
    "pop": "{{ messages.pop() }}",
    "encode": "{{ 'a'.encode('utf-8') }}",
    "print a function": "{{ range }}{{ raise_exception }}",
}


@pytest.mark.parametrize("source", ESCAPES.values(), ids=ESCAPES)
def test_escape(source: str) -> None:
    try:
        rendered = template(source).render([USER])
    except ChatTemplateError:
        return
    assert rendered == "", "an attribute that may not be read is nothing"


def grow(step: str, start: str = "'aaaaaaaa'", times: int = 64) -> str:
    return (
        f"{{% set ns = namespace(x={start}) %}}{{% for i in range({times}) %}}"
        f"{{% set ns.x = {step} %}}{{% endfor %}}"
    )


BOMBS = {
    "range": "{% for i in range(1000000000) %}x{% endfor %}",
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "loops that never enter": "{% for a in range(99999) %}{% for b in range(99999) if false %}"
    "{% endfor %}{% endfor %}",
    "recursive loop": "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
    "wide recursive loop": "{% for x in range(99) recursive %}{{ loop(range(99)) }}{% endfor %}",
    "recursive macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "branching macro": "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}"
    "{{ m(60) }}",
    "recursive block": "{% block b %}{{ self.b() }}{% endblock %}",
    "call block": "{% macro m() %}{{ caller() }}{% endmacro %}{% macro n() %}{% call m() %}"
    "{{ n() }}{% endcall %}{% endmacro %}{{ n() }}",
    "text times": "{{ 'a' * 10000000000 }}",
    "times text": "{{ 10000000000 * 'a' }}",
    "list times": "{{ ([0] * 10000000000) | length }}",
    "tuple times": "{% set x = (1, 2) * 10000000000 %}",
    "power": "{{ 10 ** (10 ** 10) }}",
    "power of power": "{{ ((2 ** 1000) ** 1000) ** 1000 }}",
    "square": grow("ns.x * ns.x", "7"),
    "round": "{{ 1.5 | round(1000000000, 'ceil') }}",
    "double by plus": grow("ns.x + ns.x"),
    "double by tilde": grow("ns.x ~ ns.x"),
    "double by join": grow("ns.x.join([ns.x, ns.x])"),
    "double by the join filter": grow("[ns.x, ns.x] | join(ns.x)"),
    "double by a generator": grow("ns.x.join([ns.x, ns.x] | map('string'))"),
    "double by replace": grow("ns.x.replace('a', 'aaa')"),
    "double by the replace filter": grow("ns.x | replace('a', ns.x)"),
    "double by replace of nothing": grow("ns.x | replace('', ns.x)"),
    "double by format": grow("'{0}{0}'.format(ns.x)"),
    "double by percent": grow("'%s%s' % (ns.x, ns.x)"),
    "double by a list": grow("ns.x + ns.x", "[1]"),
    "double by tojson": grow("ns.x | tojson", '\'""""\''),
    "double by a macro": "{% macro m(x) %}{{ x }}{{ x }}{% endmacro %}" + grow("m(m(m(ns.x)))"),
    "double by a block": "{% set ns = namespace(x='aa') %}{% for i in range(64) %}"
    "{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}{% endfor %}",
    "shared list": grow("[ns.x, ns.x]", "[1]", 60) + "{{ ns.x }}",
    "shared list as json": grow("[ns.x, ns.x]", "[1]", 60) + "{{ ns.x | tojson }}",
    "shared list compared": grow("[ns.x, ns.x]", "[1]", 60) + "{{ ns.x == [ns.x, ns.x] }}",
    "shared tuple as a key": grow("(ns.x, ns.x)", "(1,)", 60) + "{% set d = {ns.x: 1} %}",
    "shared tuple looked up": grow("(ns.x, ns.x)", "(1,)", 60) + "{{ messages[0][ns.x] }}",
    "shared tuple got": grow("(ns.x, ns.x)", "(1,)", 60) + "{{ messages[0].get(ns.x) }}",
    "shared tuple unique": grow("(ns.x, ns.x)", "(1,)", 60) + "{{ [ns.x] | unique | list }}",
    "shared tuple in dict": grow("(ns.x, ns.x)", "(1,)", 60) + "{{ dict([(ns.x, 1)]) }}",
    "shared namespace": grow("namespace(a=ns.x, b=ns.x)", "1", 60) + "{{ ns.x }}",
    "deep tuple": grow("(ns.x,)", "(1,)", 99999) + "{% set d = {ns.x: 1} %}",
    "deep list": grow("[ns.x]", "[1]", 99999) + "{{ ns.x }}",
    "deep namespace": grow("namespace(x=ns.x)", "1", 99999) + "{{ ns.x }}",
    "deep macro": "{% set ns = namespace() %}{% for i in range(99999) %}{% set prior = ns.m %}"
    "{% macro m() %}{{ prior }}{% endmacro %}{% set ns.m = m %}{% endfor %}",
    "deep by many sets": "{% set a = (1,) %}" + "{% set a = (a,) %}" * 14000,
    "cycle": "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
    "list of a long text": "{{ ([('a' * 400000)] * 400000) | sort | length }}",
    "slices": "{% set x = 'a' * 300000 %}{% for i in range(99999) %}"
    "{% set y = x[1:] %}{% endfor %}",
    "compare": "{% set x = 'a' * 300000 %}{% set y = 'a' * 300000 %}{% for i in range(99999) %}"
    "{{ '' if x == y }}{% endfor %}",
    "search": "{% set x = 'a' * 300000 %}{% for i in range(99999) %}"
    "{{ '' if 'b' in x }}{% endfor %}",
    "split": "{% for i in range(99999) %}{% set y = ('a ' * 99999).split() %}{% endfor %}",
    "output": "{% set x = 'a' * 100000 %}{% for i in range(99999) %}{{ x }}{% endfor %}",
    "static output": "{% for i in range(99999) %}" + "x" * 9999 + "{% endfor %}",
    "wide percent": "{{ '%1000000000d' % 1 }}",
    "wide percent argument": "{{ '%*d' % (1000000000, 1) }}",
    "precise percent": "{{ '%.1000000000f' % 1 }}",
    "wide format": "{{ '{:1000000000}'.format(1) }}",
    "wide format argument": "{{ '{:{}}'.format(1, 1000000000) }}",
    "wide date": "{{ strftime_now('%1000000000d') }}",
    "indent": "{{ 'a\nb' | indent(1000000000) }}",
    "json indent": "{{ [1] | tojson(indent=1000000000) }}",
    "ljust": "{{ 'a'.ljust(1000000000) }}",
    "zfill": "{{ 'a'.zfill(1000000000) }}",
    "center": "{{ 'a'.center(1000000000) }}",
    "expandtabs": "{{ '\t'.expandtabs(1000000000) }}",
    "list of text": "{% for i in range(999) %}{{ '' if ('a' * 99999) | list }}{% endfor %}",
    "map": "{% for i in range(99999) %}{{ '' if range(99999) | map('string') | list }}{% endfor %}",
    "changed": grow("(ns.x, ns.x)", "(1,)", 60)
    + "{% for i in range(3) %}{{ loop.changed(ns.x) }}{% endfor %}",
}


@pytest.mark.parametrize("source", BOMBS.values(), ids=BOMBS)
def test_bomb(source: str) -> None:
    bomb = template(source)
    with pytest.raises(ChatTemplateError):
        bomb.render([USER], now=NOW)


def test_a_bomb_leaves_the_next_rendering_whole() -> None:
    source = "{% if messages | length > 1 %}{{ 'a' * 10**9 }}{% endif %}{{ messages[0].role }}"
    compiled = template(source)
    for _ in range(3):
        with pytest.raises(ChatTemplateError):
            compiled.render([USER, USER])
        assert compiled.render([USER]) == "user"


def test_long_input_is_not_a_bomb() -> None:
    message = {"role": "user", "content": "word " * 200_000}
    source = "{% for m in messages %}{{ m.content | trim | replace('w', 'W') }}{% endfor %}"
    assert template(source).render([message] * 3) == ("Word " * 200_000).strip() * 3


def test_json_as_transformers() -> None:
    value = {"text": "<a href='x'>é\u2028</a>", "numbers": [1, 2.5, -3], "nothing": None}
    rendered = template("{{ value | tojson }}").render([USER], variables={"value": value})
    assert json.loads(rendered) == value
    assert rendered == json.dumps(value, ensure_ascii=False)
