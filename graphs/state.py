"""State of the graphs: plain JSON-able dumps of the control records, so that checkpoints need no foreign types."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict, TypeVar

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from edgewise.domain.codec import from_plain, to_plain

T = TypeVar("T")
Plain = dict[str, Any]


class SlotState(TypedDict, total=False):
    """ticket: control.state.Ticket, the input. job, pool, decision: as in control.decide. orders, failures, notes,
    uses (of language models): joined over nodes and branches."""

    ticket: Plain
    job: Plain
    pool: Plain
    orders: Annotated[list[Plain], operator.add]
    failures: Annotated[list[str], operator.add]
    notes: Annotated[list[str], operator.add]
    uses: Annotated[list[Plain], operator.add]
    decision: Plain


class DeployState(TypedDict):
    """What one node's deployer gets: its briefs, one per plan that changes something there."""

    node: str
    briefs: list[Plain]


class EpochState(TypedDict, total=False):
    """ticket: the slot's, with its observation. result: control.state.EpochResult, whole after `result`."""

    ticket: Plain
    job: Plain
    result: Plain
    notes: Annotated[list[str], operator.add]


def read(kind: type[T], state: Any, key: str) -> T:
    """A record out of the state."""
    return from_plain(kind, state[key], f"graph state {key}")


def dump(value: Any) -> Plain:
    """A record into the state."""
    plain: Plain = to_plain(value)
    return plain


def serializer() -> JsonPlusSerializer:
    """Checkpoints hold plain values only; nothing else is let in when they are read."""
    return JsonPlusSerializer(allowed_msgpack_modules=[])
