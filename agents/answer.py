"""The planner's answer: one small flat schema, and the JSON schema a server is asked to constrain it to. What the
other agents' answers share with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


class Strict(BaseModel):
    """No field beside those named, no type but the one named."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NodeModels(Strict):
    node: str
    models: list[str]


class NodeRole(Strict):
    node: str
    role: str


class ModelFloor(Strict):
    model: str
    share: float = Field(ge=0, le=1, allow_inf_nan=False)


class Pin(Strict):
    node: str
    model: str


class PlannerAnswer(Strict):
    """`replicas` is the whole placement: a node that is not listed holds nothing. It comes first, so that an
    answer cut off at the token limit loses its reason rather than its placement. Pins are among the replicas."""

    replicas: list[NodeModels]
    roles: list[NodeRole] = []
    alpha: float | None = Field(None, ge=0, le=MAX_ALPHA, allow_inf_nan=False)
    expires_slots: int | None = Field(None, ge=1, le=MAX_EXPIRES_SLOTS)
    floors: list[ModelFloor] = []
    pins: list[Pin] = []
    reason: str = ""

    def pairs(self) -> list[tuple[str, str]]:
        """Every (node, model) asked for, sorted, once each."""
        return sorted({(entry.node, model) for entry in self.replicas for model in entry.models})


def answer_schema(names: Names) -> Mapping[str, object]:
    """The JSON schema of PlannerAnswer over these names, in the subset that strict structured output takes:
    every property required, none beside them, optional ones nullable, no references."""
    node, model = one_of(names.nodes), one_of(names.models)
    return an_object(
        replicas=a_list(an_object(node=node, models=a_list(model))),
        roles=a_list(an_object(node=node, role={"type": "string"})),
        alpha={"type": ["number", "null"]},
        expires_slots={"type": ["integer", "null"]},
        floors=a_list(an_object(model=model, share={"type": "number"})),
        pins=a_list(an_object(node=node, model=model)),
        reason={"type": "string"},
    )


def one_of(names: Iterable[str]) -> dict[str, Any]:
    return {"type": "string", "enum": list(names)}


def an_object(**properties: object) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def a_list(items: object) -> dict[str, Any]:
    return {"type": "array", "items": items}
