"""One table: the link check, the dispatch and the SDK header all say the same."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from realm.errors import GuestContractError
from realm.runtime.contract import (
    ABI_VERSION,
    GUEST_EXPORTS,
    HOST_FUNCTIONS,
    ErrorCode,
    check_exports,
    function_numbers,
)
from realm.runtime.host_functions import HANDLERS
from realm.runtime.layouts import GEN_OPTIONS, SAMPLE_PARAMETERS
from realm.runtime.limits import GuestLimits, TenantLimits

from .wat import declare, guest, wide_guest

HEADER = Path(__file__).parents[2] / "guests" / "include" / "realm.h"
DOCUMENT = Path(__file__).parents[2] / "docs" / "guests.md"
C_KINDS = {"int32_t": "i32", "uint32_t": "u32", "size_t": "length"}


@pytest.fixture(scope="module")
def header() -> str:
    return HEADER.read_text(encoding="utf-8")


def c_parameters(text: str) -> list[tuple[str, str]]:
    """(name, kind) of each parameter of a C declaration."""
    rows = []
    for part in " ".join(text.split()).split(","):
        if part.strip() in ("", "void"):
            continue
        words = part.replace("*", " * ").split()
        kind = "pointer" if "*" in words else C_KINDS[words[0]]
        rows.append((words[-1], kind))
    return rows


def test_the_header_declares_what_the_table_has(header):
    declared = {
        name: c_parameters(parameters)
        for name, parameters in re.findall(r"REALM_IMPORT\((realm_\w+)\)\(([^)]*)\);", header)
    }
    assert declared == {
        function.name: [(p.name, p.kind) for p in function.parameters]
        for function in HOST_FUNCTIONS
    }


def test_the_header_declares_the_exports(header):
    declared = re.findall(r"REALM_EXPORT\((realm_\w+)\) ([\w* ]+?)realm_\w+\(([^)]*)\);", header)
    letters = {"i32": "i", "pointer": "p", "length": "p"}
    found = {
        name: (
            "".join(letters[kind] for _, kind in c_parameters(parameters)),
            {"int32_t": "i", "void*": "p", "void": ""}[result.strip()],
        )
        for name, result, parameters in declared
    }
    assert found == {name: (parameters, results) for name, parameters, results in GUEST_EXPORTS}


def test_the_header_numbers_errors_as_the_table_does(header):
    numbers = {name: int(number) for name, number in re.findall(r"(REALM_E_\w+) = (\d+)", header)}
    assert numbers == {code.symbol: int(code) for code in ErrorCode}
    assert f"#define REALM_ABI_VERSION {ABI_VERSION}" in header


def test_the_header_lays_structures_out_as_the_host_reads_them(header):
    sizes = {
        name: int(size)
        for name, size in re.findall(r"_Static_assert\(sizeof\((\w+)\) == (\d+)", header)
    }
    assert sizes == {
        "realm_gen_options": GEN_OPTIONS.size,
        "realm_sample_params": SAMPLE_PARAMETERS.size,
    }


def test_the_document_has_every_function_code_and_limit():
    text = DOCUMENT.read_text(encoding="utf-8")
    documented = dict(re.findall(r"^\| `(realm_\w+)\(([^)]*)\)` \|", text, re.MULTILINE))
    assert documented == {
        function.name: ", ".join(parameter.name for parameter in function.parameters)
        for function in HOST_FUNCTIONS
    }
    codes = re.findall(r"^\| (\d+) \| (\w+) \|", text, re.MULTILINE)
    assert codes == [(str(int(code)), code.name) for code in ErrorCode]
    for limits in (GuestLimits, TenantLimits):
        for field in fields(limits):
            assert f"`{field.name}`" in text, field.name


def test_every_function_has_its_own_handler():
    assert len(HANDLERS) == len(HOST_FUNCTIONS)
    assert len(set(HANDLERS)) == len(HANDLERS)


@pytest.mark.parametrize("function", HOST_FUNCTIONS, ids=lambda function: function.name)
def test_every_function_links_in_both_widths(compile_wat, function):
    compile_wat(guest(imports=(function.name,)))
    compile_wat(wide_guest("(i32.const 0)", imports=(function.name,)))


def test_the_same_import_twice_links(compile_wat):
    again = '(import "env" "realm_last_size" (func $again (result i32)))'
    source = guest("(call $again)", imports=("realm_last_size",))
    compile_wat(source.replace(declare("realm_last_size"), declare("realm_last_size") + again))


@pytest.mark.parametrize(
    ("declaration", "words"),
    [
        ('(import "env" "realm_get_tensors" (func))', "not offered by this version"),
        ('(import "wasi_snapshot_preview1" "fd_write" (func))', "only module 'env'"),
        ('(import "env" "realm_log" (memory 1))', "memory cannot be imported"),
        ('(import "env" "realm_log" (global i32))', "global cannot be imported"),
        ('(import "env" "realm_now_ms" (func))', "declared as () -> ()"),
        ('(import "env" "realm_now_ms" (func (result i64)))', "declared as () -> (i64)"),
        (
            '(import "env" "realm_now_ms" (func (param i32) (result i32)))',
            "declared as (i32) -> (i32)",
        ),
        (
            '(import "env" "realm_log" (func (param i64 i32 i32) (result i32)))',
            "declared as (i64, i32, i32) -> (i32)",
        ),
        (
            '(import "env" "realm_log" (func (param i32 i32 i64) (result i32)))',
            "declared as (i32, i32, i64) -> (i32)",
        ),
        (
            '(import "env" "realm_log" (func (param i32 f32 f32) (result i32)))',
            "declared as (i32, f32, f32) -> (i32)",
        ),
    ],
)
def test_an_import_that_does_not_fit_is_named(compile_wat, declaration, words):
    memory = "" if "(memory" in declaration else '(memory (export "memory") 1)'
    name = re.search(r"(realm_\w+|fd_write)", declaration)[0]
    with pytest.raises(GuestContractError, match=f"{name}: .*{re.escape(words)}"):
        compile_wat(guest(memory=memory).replace("(module", f"(module {declaration}"))


def test_an_export_of_another_type_is_named():
    rows = [("", "memory", "memory", "", "")]
    rows += [
        ("", name, "function", p.replace("p", "i"), r.replace("p", "i"))
        for name, p, r in GUEST_EXPORTS
    ]
    check_exports(rows, memory_is_64=False)
    with pytest.raises(GuestContractError, match=r"realm_alloc: must be a function \(i64\)"):
        check_exports(rows, memory_is_64=True)


def test_no_import_needs_no_function():
    assert function_numbers([]) == []
