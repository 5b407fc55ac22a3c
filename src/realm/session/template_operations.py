"""The filters, tests and text methods that a chat template may use, each paid for before it runs.

Never lets an operation make more than it has paid for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

from jinja2 import pass_context
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.tests import TESTS

from realm.errors import ChatTemplateError
from realm.session.template_budget import ELEMENT_UNITS, STEP_UNITS, Budget


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Filters that read a bounded part of what they are given, however long that is.
_SHALLOW: Final = _names("abs count d default first float int items last length")
_WHOLE: Final = _names(
    "capitalize dictsort e escape indent join list lower map max min reject rejectattr replace "
    "reverse round safe select selectattr sort string title trim unique upper"
)
# Those that make a text of whatever they are given.
_WRITING: Final = _names(
    "capitalize e escape indent join lower replace safe string title trim upper"
)
# Tests that look at a value's type only, and those that look at all of it.
_TYPE_TESTS: Final = _names(
    "boolean callable defined false float integer iterable mapping none number sameas sequence "
    "string true undefined"
)
_VALUE_TESTS: Final = _names(
    "divisibleby eq equalto == even ge >= greaterthan gt > in le <= lessthan lower lt < ne != odd "
    "upper"
)
_TEXT_METHODS: Final = _names(
    "capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit "
    "islower isnumeric isspace istitle isupper join lower lstrip partition removeprefix "
    "removesuffix replace rfind rindex rpartition rsplit rstrip split splitlines startswith strip "
    "swapcase title upper"
)
_INDENT_COLUMNS: Final = 64


class _Produced(list[Any]):
    """What Jinja's lazy filters give, made at once; like the iterators they give, it is true."""

    def __bool__(self) -> bool:
        return True


def pay_for_text_method(
    budget: Budget, text: str, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Any, ...]:
    """Pay for text.name(*args) or refuse it; the arguments, with a generator made a list."""
    if name not in _TEXT_METHODS:
        raise ChatTemplateError(f"the chat template calls {name!r} of a text, which it may not")
    budget.spend(len(text))
    if name == "replace" and len(args) >= 2 and all(isinstance(each, str) for each in args[:2]):
        budget.replacing(text, args[0], args[1])
    elif name == "join" and args:
        args = (list(args[0]), *args[1:])
        budget.joining(args[0], text)
    elif "split" in name:
        separator = args[0] if args else kwargs.get("sep")
        if isinstance(separator, str) and separator:
            budget.make(ELEMENT_UNITS * text.count(separator))
        else:
            budget.make(ELEMENT_UNITS // 2 * len(text))
    budget.read((args, kwargs))
    return args


def bounded_filters() -> dict[str, Callable[..., Any]]:
    """The filters by name."""
    filters: dict[str, Callable[..., Any]] = {
        name: _bounded(name, FILTERS[name], reads=name in _WHOLE) for name in _SHALLOW + _WHOLE
    }
    filters["tojson"] = pass_context(_to_json)
    filters["from_json"] = filters["fromjson"] = pass_context(_from_json)
    return filters


def bounded_tests() -> dict[str, Callable[..., Any]]:
    """The tests by name."""
    return {
        **{name: _bounded(name, TESTS[name], reads=False) for name in _TYPE_TESTS},
        **{name: _bounded(name, TESTS[name], reads=True) for name in _VALUE_TESTS},
    }


def _bounded(name: str, function: Any, *, reads: bool) -> Callable[..., Any]:
    wants = getattr(getattr(function, "jinja_pass_arg", None), "name", "")

    @pass_context
    def call(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        budget = budget_of(context)
        if reads:
            _pay(budget, name, value, args, kwargs)
        budget.spend(STEP_UNITS)
        given = {
            "context": (context,),
            "eval_context": (context.eval_ctx,),
            "environment": (context.environment,),
        }.get(wants, ())
        result = function(*given, value, *args, **kwargs)
        if isinstance(result, Iterator):
            return _Produced(_metered(budget, result))
        budget.made(result)
        return result

    return cast(Callable[..., Any], call)


def _pay(
    budget: Budget, name: str, value: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    writes = name in _WRITING
    if name in ("map", "select", "reject", "selectattr", "rejectattr"):
        budget.made(value)
        budget.read((args, kwargs))
        return
    units = budget.read(value, text=writes) + budget.read((args, kwargs), text=writes)
    if name == "replace":
        old, new = (str(args[i]) if len(args) > i else "" for i in (0, 1))
        budget.replacing(str(value), old, str(kwargs.get("new", new)))
    elif name == "join":
        separator = args[0] if args else kwargs.get("d", "")
        budget.make(len(str(separator)) * units)
    elif name == "indent":
        width = args[0] if args else kwargs.get("width", 4)
        columns = len(width) if isinstance(width, str) else int(width)
        if not 0 <= columns <= _INDENT_COLUMNS:
            raise ChatTemplateError(f"the chat template indents by {columns} columns")
        budget.make((str(value).count("\n") + 1) * columns)
    elif name == "round":
        precision = args[0] if args else kwargs.get("precision", 0)
        if not isinstance(precision, int) or abs(precision) > 20:
            raise ChatTemplateError("the chat template rounds to a precision it may not use")
    elif name == "list":
        budget.make(ELEMENT_UNITS * units)


def _metered(budget: Budget, values: Iterator[Any]) -> Iterator[Any]:
    for value in values:
        budget.spend(ELEMENT_UNITS)
        yield value


def _to_json(  # noqa: PLR0917 - the arguments that transformers gives it
    context: Context,
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As transformers does it: plain JSON, without the escapes that HTML needs."""
    budget = budget_of(context)
    columns = 0 if indent is None else indent
    if not isinstance(columns, int) or not 0 <= columns <= _INDENT_COLUMNS:
        raise ChatTemplateError("the chat template indents JSON by more than it may")
    units, depth = budget.read_nested(value)
    extra = sum(map(len, separators)) if separators else 2
    budget.make(units * (6 + extra + columns * depth))
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _from_json(context: Context, value: Any) -> Any:
    budget = budget_of(context)
    budget.make(ELEMENT_UNITS * budget.read(value, text=True))
    return json.loads(value)


def budget_of(context: Context) -> Budget:
    """The budget of the rendering that a context belongs to."""
    return cast(Budget, context.environment.budget)  # type: ignore[attr-defined]
