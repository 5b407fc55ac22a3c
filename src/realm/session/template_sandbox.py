# ruff: noqa: N802, N815 - Jinja names its visitor methods after its node types
"""Compile and run a chat template that is not trusted.

Jinja's immutable sandbox keeps a template away from Python's internals. This adds what that
leaves open: loops, recursion and values that would take forever or all of the memory. The syntax
tree is rewritten so that every loop, macro, comparison, slice and concatenation pays from a
budget (realm.session.template_budget). Never reads files, the clock or other templates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from types import CodeType
from typing import Any, Final, NoReturn, cast

from jinja2 import Template, TemplateError, nodes, pass_context
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from realm.errors import ChatTemplateError
from realm.session.template_budget import CALL_UNITS, STEP_UNITS, Budget
from realm.session.template_operations import (
    bounded_filters,
    bounded_tests,
    budget_of,
    pay_for_text_method,
)

_COMPILE_UNITS: Final = 1_000_000
# What Jinja itself adds to a call.
_JINJA_ARGUMENTS: Final = frozenset(("_loop_vars", "_block_vars"))
# Plain fields only: the C library takes widths, such as %999999999d, too.
_DATE_PATTERN: Final = re.compile(r"(?:[^%]|%[-_^#]?[A-Za-z%])*+")
# Names of filters that only the rewritten tree uses: a space cannot stand in a name.
_SPEND, _READ, _KEEP, _MADE, _JOIN = " spend", " read", " keep", " made", " join"


class CompiledTemplate:
    """A template as code, run each time with a budget of its own."""

    __slots__ = ("_code",)

    def __init__(self, source: str) -> None:
        """Raises ChatTemplateError if it is not a template that may run."""
        sandbox = _Sandbox(Budget(_COMPILE_UNITS, _COMPILE_UNITS))
        try:
            tree = sandbox.parse(source)
            metered = _Meter().visit(tree)
            metered.set_environment(sandbox)
            code = sandbox.compile(metered)
        except ChatTemplateError:
            raise
        except RecursionError:
            raise ChatTemplateError("the chat template is nested too deeply") from None
        except Exception as error:  # whatever Jinja or the Python compiler make of hostile text
            raise ChatTemplateError(f"the chat template is malformed: {_reason(error)}") from None
        self._code: CodeType = code

    def render(
        self, context: Mapping[str, object], message_count: int, now: datetime | None
    ) -> str:
        """The text for this context. Raises ChatTemplateError."""
        sandbox = _Sandbox(Budget.for_input(context, message_count))
        functions: dict[str, Callable[..., object]] = {"raise_exception": _raise_exception}
        if now is not None:
            functions["strftime_now"] = _clock(sandbox.budget, now)
        try:
            template = Template.from_code(sandbox, self._code, {**sandbox.globals, **functions})
            return "".join(template.generate(**context))
        except ChatTemplateError:
            raise
        except RecursionError:
            raise ChatTemplateError("the chat template calls itself without end") from None
        except Exception as error:  # a template can raise anything that Python's operators raise
            raise ChatTemplateError(f"the chat template failed: {_reason(error)}") from None


class _Generation(Extension):
    """`{% generation %}` marks what an assistant said; for a prompt it is what stands inside."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own name and type

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Sandbox(ImmutableSandboxedEnvironment):
    """One rendering's environment."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, budget: Budget) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            cache_size=0,
            extensions=[LoopControlExtension, _Generation],
            finalize=self._write,
        )
        self.budget = budget
        self.filters.clear()
        self.filters.update(bounded_filters())
        private: dict[str, Callable[..., Any]] = {
            _SPEND: _spend,
            _READ: _read,
            _KEEP: _keep,
            _MADE: _made,
            _JOIN: _join,
        }
        for name, function in private.items():
            self.filters[name] = pass_context(function)
        self.tests.clear()
        self.tests.update(bounded_tests())
        self.globals = {name: self.globals[name] for name in ("range", "dict", "namespace")}

    def _write(self, value: Any) -> Any:
        self.budget.make(self.budget.read(value, text=True))
        return value

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "+":
            self.budget.adding(left, right)
        elif operator == "*":
            self.budget.multiplying(left, right)
        elif operator == "**":
            self.budget.raising(left, right)
        elif isinstance(left, str):
            self.budget.formatting(left, right)
        result = super().call_binop(context, operator, left, right)
        self.budget.made(result)
        return result

    def call(self, context: Context, target: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.budget.spend(CALL_UNITS)
        owner = getattr(target, "__self__", None)
        if isinstance(owner, str):
            name = getattr(target, "__name__", "")
            args = pay_for_text_method(self.budget, owner, name, args, kwargs)
        elif not isinstance(target, Macro):
            given = {name: kwargs[name] for name in kwargs.keys() - _JINJA_ARGUMENTS}
            self.budget.read((args, given), text=target is Namespace)
            if isinstance(owner, list | tuple | dict):
                self.budget.made(owner)
        result = super().call(context, target, *args, **kwargs)
        self.budget.made(result)
        return result

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def fill(*args: Any, **kwargs: Any) -> str:
            self.budget.formatting(value.__self__, [*args, kwargs])
            return wrapped(*args, **kwargs)

        return fill


class _Meter(NodeTransformer):
    """Rewrites a syntax tree so that running it pays from the budget."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.body.insert(0, _pay_statement(node.body, node.lineno))
        if node.test is not None:
            paid = _filter(nodes.Const((STEP_UNITS, 0), lineno=node.lineno), _SPEND)
            node.test = nodes.And(paid, node.test, lineno=node.lineno)
        return node

    def visit_Macro(self, node: nodes.Macro | nodes.CallBlock | nodes.Block) -> nodes.Node:
        self.generic_visit(node)
        node.body.insert(0, _pay_statement(node.body, node.lineno))
        return node

    visit_CallBlock = visit_Macro
    visit_Block = visit_Macro

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes, lineno=node.lineno), _JOIN)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            return _filter(node, _MADE)
        if not isinstance(node.arg, nodes.Const):
            node.arg = _filter(node.arg, _READ)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = _filter(node.expr, _READ)
        for operand in node.ops:
            operand.expr = _filter(operand.expr, _READ)
        return node

    def visit_Assign(self, node: nodes.Assign) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node.target, nodes.NSRef):
            node.node = _filter(node.node, _KEEP)
        return node

    def visit_List(self, node: nodes.List | nodes.Tuple | nodes.Dict) -> nodes.Node:
        # Values inside values: each is looked through when it is made, so that none gets too deep.
        self.generic_visit(node)
        return node if getattr(node, "ctx", "load") == "store" else _filter(node, _KEEP)

    visit_Tuple = visit_Dict = visit_List

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:
        self.generic_visit(node)
        if not isinstance(node.key, nodes.Const):
            node.key = _filter(node.key, _READ)
        return node

    def visit_Include(self, node: nodes.Node) -> NoReturn:
        what = type(node).__name__
        raise ChatTemplateError(f"line {node.lineno} of the chat template uses {what}")

    visit_Import = visit_FromImport = visit_Extends = visit_Include
    visit_EvalContextModifier = visit_ScopedEvalContextModifier = visit_Include


def _filter(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(cast(nodes.Expr, node), name, [], [], None, None, lineno=node.lineno)


def _pay_statement(body: list[nodes.Node], lineno: int) -> nodes.Node:
    """A statement that pays for one pass through a body: its nodes and its static text."""
    inside = [each for node in body for each in (node, *node.find_all(nodes.Node))]
    made = sum(len(each.data) for each in inside if isinstance(each, nodes.TemplateData))
    units = nodes.Const((STEP_UNITS + len(inside), made), lineno=lineno)
    return nodes.ExprStmt(_filter(units, _SPEND), lineno=lineno)


def _spend(context: Context, units: tuple[int, int]) -> bool:
    work, made = units
    budget_of(context).spend(work)
    budget_of(context).make(made)
    return True


def _read(context: Context, value: Any) -> Any:
    budget_of(context).read(value)
    return value


def _keep(context: Context, value: Any) -> Any:
    budget_of(context).read(value, text=True)
    return value


def _made(context: Context, value: Any) -> Any:
    budget_of(context).made(value)
    return value


def _join(context: Context, values: list[Any]) -> str:
    budget_of(context).joining(values, "")
    return "".join(map(str, values))


def _raise_exception(message: object = "") -> NoReturn:
    raise ChatTemplateError(f"the chat template refuses the conversation: {str(message)[:500]}")


def _clock(budget: Budget, now: datetime) -> Callable[[str], str]:
    def strftime_now(pattern: str) -> str:
        if not _DATE_PATTERN.fullmatch(pattern):
            raise ChatTemplateError(f"the chat template asks for a date as {pattern[:100]!r}")
        budget.spend(32 * len(pattern))
        return now.strftime(pattern)

    return strftime_now


def _reason(error: Exception) -> str:
    text = error.message if isinstance(error, TemplateError) and error.message else str(error)
    line = getattr(error, "lineno", None)
    where = f" (line {line})" if isinstance(line, int) else ""
    return f"{(text or type(error).__name__)[:500]}{where}"
