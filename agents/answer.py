"""The planner's answer: one small flat schema, and the JSON schema a server is asked to constrain it to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

MAX_ALPHA = 10.0  # the latency-fairness frontier is flat long before
MAX_EXPIRES_SLOTS = 1000
MAX_ROLE_CHARS = 40
MAX_REASON_CHARS = 600


@dataclass(frozen=True, slots=True)
class Names:
    """The names an answer may use: nodes that are alive, models of the catalogue."""

    nodes: tuple[str, ...]
    models: tuple[str, ...]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NodeModels(_Strict):
    node: str
    models: list[str]


class NodeRole(_Strict):
    node: str
    role: str


class PlannerAnswer(_Strict):
    """`replicas` is the whole placement: a node that is not listed holds nothing. It comes first, so that an
    answer cut off at the token limit loses its reason rather than its placement."""

    replicas: list[NodeModels]
    roles: list[NodeRole] = []
    alpha: float | None = Field(None, ge=0, le=MAX_ALPHA, allow_inf_nan=False)
    expires_slots: int | None = Field(None, ge=1, le=MAX_EXPIRES_SLOTS)
    reason: str = ""

    def pairs(self) -> list[tuple[str, str]]:
        """Every (node, model) asked for, sorted, once each."""
        return sorted({(entry.node, model) for entry in self.replicas for model in entry.models})


def answer_schema(names: Names) -> Mapping[str, object]:
    """The JSON schema of PlannerAnswer over these names, in the subset that strict structured output takes:
    every property required, none beside them, optional ones nullable, no references."""
    node = {"type": "string", "enum": list(names.nodes)}
    model = {"type": "string", "enum": list(names.models)}
    return _object(
        replicas=_array(_object(node=node, models=_array(model))),
        roles=_array(_object(node=node, role={"type": "string"})),
        alpha={"type": ["number", "null"]},
        expires_slots={"type": ["integer", "null"]},
        reason={"type": "string"},
    )


def _object(**properties: object) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _array(items: object) -> dict[str, Any]:
    return {"type": "array", "items": items}
