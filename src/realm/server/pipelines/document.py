"""A pipeline's file as plain data: YAML or JSON, bounded before anything is built of it.

Of YAML only what JSON can say is taken: no anchors and aliases, no tags, no merge keys, no dates,
one document. A key that stands twice is an error in both.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import yaml

from realm.errors import PipelineError

MOST_BYTES = 256 << 10
MOST_DEPTH = 24
MOST_NODES = 20_000
SUFFIXES = (".yaml", ".yml", ".json")


def read_document(path: Path) -> Any:
    """What the file says. Raises PipelineError, which names the file and where it can, the
    line."""
    if path.suffix not in SUFFIXES:
        raise PipelineError(f"{path.name}: a pipeline's file ends in {', '.join(SUFFIXES)}")
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise PipelineError(f"{path.name}: cannot be read: {error.strerror}") from error
    return parse_document(data, path.name, is_json=path.suffix == ".json")


def parse_document(data: bytes, name: str, *, is_json: bool) -> Any:
    """name: of the file, for errors. Raises PipelineError."""
    if len(data) > MOST_BYTES:
        raise PipelineError(f"{name}: longer than {MOST_BYTES} bytes")
    try:
        text = data.decode("utf-8")
        document = _parse_json(text) if is_json else _parse_yaml(text)
    except UnicodeDecodeError as error:
        raise PipelineError(f"{name}: not UTF-8 at byte {error.start}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f" in line {mark.line + 1}"
        raise PipelineError(f"{name}: not YAML{where}: {error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        kind = "JSON" if is_json else "YAML"
        reason = "nested too deeply" if isinstance(error, RecursionError) else _one_line(error)
        raise PipelineError(f"{name}: not {kind}: {reason}") from error
    _check_values(document, name)
    return document


def _parse_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a value of JSON")


class _Loader(yaml.SafeLoader):
    """SafeLoader with keys that are text, and each once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise _refusal("merge keys are not taken", key_node.start_mark)
            if key_node.tag != "tag:yaml.org,2002:str":
                raise _refusal("a key must be text", key_node.start_mark)
            if key_node.value in seen:
                text = f"the key {key_node.value!r} stands twice"
                raise _refusal(text, key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _parse_yaml(text: str) -> Any:
    _check_events(text)
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _check_events(text: str) -> None:
    """Raises for what is not taken before a single object is built."""
    depth = nodes = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _refusal("anchors and aliases are not taken", mark)
        if getattr(event, "tag", None) is not None:
            raise _refusal("tags are not taken", mark)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _refusal("a file is one document", mark)
        elif isinstance(event, yaml.NodeEvent):
            nodes += 1
            if nodes > MOST_NODES:
                raise _refusal(f"more than {MOST_NODES} values", mark)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MOST_DEPTH:
                raise _refusal("nested too deeply", mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _refusal(text: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=mark)


def _check_values(document: Any, name: str) -> None:
    """Raises PipelineError for what JSON cannot say, and for JSON that is too much."""
    nodes = 0
    waiting = [(document, 1)]
    while waiting:
        value, depth = waiting.pop()
        nodes += 1
        if nodes > MOST_NODES:
            raise PipelineError(f"{name}: more than {MOST_NODES} values")
        if depth > MOST_DEPTH:
            raise PipelineError(f"{name}: nested too deeply")
        if isinstance(value, dict):
            waiting += [(each, depth + 1) for each in value.values()]
        elif isinstance(value, list):
            waiting += [(each, depth + 1) for each in value]
        elif isinstance(value, float) and not math.isfinite(value):
            raise PipelineError(f"{name}: {value} is not a value of JSON")
        elif value is not None and not isinstance(value, str | bool | int | float):
            raise PipelineError(
                f"{name}: {value} is not a value of JSON; put quotes around a date or bytes"
            )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
