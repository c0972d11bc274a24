"""YAML with places: a document's plain values, and the line of each key, so that an error can name it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import yaml

from edgewise.domain.errors import BadInput

Loc = tuple[int | str, ...]


def read_text(path: Path, what: str) -> str:
    """The file's text. Raises BadInput when it cannot be read. what: "scenario", say."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadInput("not UTF-8 text", where=str(path), hint=f"save the {what} as UTF-8") from error
    except OSError as error:
        message = f"cannot read the {what}: {error.strerror or error}"
        raise BadInput(message, where=str(path), hint=f"name a {what} file") from error


def parse(text: str, path: Path, what: str, hint: str) -> tuple[yaml.Node, Any]:
    """(the document with its marks, its plain values). Raises BadInput with the line for what is not YAML, is empty,
    or has a key twice."""
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            raise BadInput(f"the {what} is empty", where=f"{path}:1", hint=hint)
        _check_keys(root, path)
        return root, loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise BadInput(
            f"not valid YAML: {error.problem or error}", where=where, hint="check the indentation"
        ) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadInput(f"not valid YAML: {str(error).splitlines()[0]}", where=str(path)) from error
    finally:
        loader.dispose()


def without_empty(value: Any) -> Any:
    """A key without a value means its default. Keys become strings: `1: …` names what is called "1"."""
    if isinstance(value, dict):
        return {str(k): without_empty(v) for k, v in value.items() if v is not None}
    return [without_empty(v) for v in value] if isinstance(value, list) else value


def at(root: yaml.Node, loc: Loc) -> tuple[yaml.Node, list[int | str]]:
    """The node nearest to `loc` and the part of it that the file has. For a key that is there, its own mark."""
    node, trail = root, list[int | str]()
    mark: yaml.Node = root
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if pair is None:
                continue  # the name of a variant, or a missing key
            mark, node = pair
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            mark = node = node.value[part]
        else:
            continue
        trail.append(part)
    return mark, trail


def line(root: yaml.Node, loc: Loc, path: Path) -> str:
    """file:line of a place."""
    return f"{path}:{at(root, loc)[0].start_mark.line + 1}"


def _check_keys(root: yaml.Node, path: Path) -> None:
    """YAML takes the last of two equal keys without a word; and a key must be a name."""
    for mapping in _mappings(root, set()):
        seen: set[Hashable] = set()
        for key, _ in mapping.value:
            where = f"{path}:{key.start_mark.line + 1}"
            if not isinstance(key, yaml.ScalarNode):
                raise BadInput("a key must be a name", where=where)
            if key.value in seen:
                raise BadInput(f"key {key.value!r} is there twice", where=where, hint="remove one")
            seen.add(key.value)


def _mappings(node: yaml.Node, above: set[int]) -> Iterator[yaml.MappingNode]:
    if id(node) in above:
        raise yaml.MarkedYAMLError(problem="an alias contains itself", problem_mark=node.start_mark)
    inside = above | {id(node)}
    if isinstance(node, yaml.MappingNode):
        yield node
        for _, value in node.value:
            yield from _mappings(value, inside)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _mappings(value, inside)
