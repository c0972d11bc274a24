"""JSON in and out for the frozen records, through pydantic; one place, so that shapes cannot drift."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from edgewise.domain.errors import BadInput

T = TypeVar("T")


_adapters: dict[Any, TypeAdapter[Any]] = {}


def adapter(kind: Any) -> TypeAdapter[Any]:
    """The pydantic adapter of a record type, built once."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def to_plain(value: Any) -> Any:
    """A record as dicts, lists, strings and numbers only (enums become their values, tuples lists)."""
    return adapter(type(value)).dump_python(value, mode="json")


def to_json(value: Any) -> bytes:
    return adapter(type(value)).dump_json(value)


def from_plain(kind: type[T], value: Any, where: str = "") -> T:
    """A record from plain data. Raises BadInput naming the first bad field."""
    try:
        result: T = adapter(kind).validate_python(value)
    except ValidationError as error:
        raise _bad(kind, error, where) from error
    return result


def from_json(kind: type[T], text: bytes | str, where: str = "") -> T:
    """A record from JSON text. Raises BadInput naming the first bad field."""
    try:
        result: T = adapter(kind).validate_json(text)
    except ValidationError as error:
        raise _bad(kind, error, where) from error
    return result


def _bad(kind: Any, error: ValidationError, where: str) -> BadInput:
    first = error.errors()[0]
    path = ".".join(str(p) for p in first["loc"]) or "(top level)"
    name = getattr(kind, "__name__", str(kind))
    return BadInput(f"not a valid {name}: {path}: {first['msg']}", where=where)
