"""What a person says of nodes and models, where the systems do not: the files behind --nodes and --models."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from edgewise.domain.errors import BadInput
from edgewise.domain.model import Task
from evals.scenario import CONFIG, AtLeastOne, Id, NotNegative, Positive, Power

Batching = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class NodeGiven:
    """endpoint: the URL or name whose node this is; empty: prompts of every endpoint may be served here."""

    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    id: Id
    endpoint: str = ""
    memory_gib: Positive | None = None
    speed: Positive | None = None
    power_w: Power | None = None


@dataclass(frozen=True, slots=True)
class ModelGiven:
    """What is left out is taken from what was seen, else from a default that the report names."""

    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    memory_gib: Positive | None = None
    load_s: Positive | None = None
    task: Task | None = None
    max_concurrency: AtLeastOne | None = None
    batching: Batching | None = None
    service_cv: NotNegative | None = None
    deadline_s: Positive | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """nodes: in a file; count: a number instead; models: by the name that the systems give them."""

    nodes: tuple[NodeGiven, ...] = ()
    count: int | None = None
    models: dict[str, ModelGiven] = field(default_factory=dict)


_NODES: TypeAdapter[tuple[NodeGiven, ...]] = TypeAdapter(tuple[NodeGiven, ...])
_MODELS: TypeAdapter[dict[str, ModelGiven]] = TypeAdapter(dict[str, ModelGiven])


def load_given(nodes: str | None, models: Path | None) -> Given:
    """nodes: a number or a file. Raises BadInput (where = the file) for what is neither."""
    count, listed = None, tuple[NodeGiven, ...]()
    if nodes is not None and nodes.strip().isdigit():
        count = int(nodes)
        if count < 1:
            raise BadInput("at least one node", where="--nodes")
    elif nodes is not None:
        listed = _read(_NODES, Path(nodes), "nodes", "a list of {id, endpoint, memory_gib, speed, power_w}")
        ids = [n.id for n in listed]
        if not ids or len(set(ids)) < len(ids):
            raise BadInput("no nodes, or two of one id", where=nodes, hint="give each node an id of its own")
    found = (
        {} if models is None else _read(_MODELS, models, "models", "a mapping of model to {memory_gib, load_s, …}")
    )
    return Given(listed, count, found)


def _read(adapter: TypeAdapter[Any], path: Path, key: str, form: str) -> Any:
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"cannot read the file: {error.strerror or error}", where=str(path)) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"not YAML: {str(error).splitlines()[0]}", where=str(path)) from error
    if isinstance(plain, dict) and set(plain) == {key}:
        plain = plain[key]
    try:
        return adapter.validate_python(plain)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"]) or "(top)"
        raise BadInput(f"{place}: {first['msg']}", where=str(path), hint=form) from error
