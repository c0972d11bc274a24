"""State of the graphs: plain JSON-able dumps of the control records, so that checkpoints need no foreign types."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict, TypeVar

from edgewise.domain.codec import from_plain, to_plain
from edgewise.settings import Settings

T = TypeVar("T")
Plain = dict[str, Any]


class SlotState(TypedDict, total=False):
    """ticket: control.state.Ticket, the input. job, pool, decision: as in control.decide. orders, failures, notes,
    uses (of language models): joined over nodes and branches. stand_in: what the slot goes on by while `decision`
    waits for a person. settings: those the decision was made with, for whoever makes it again."""

    ticket: Plain
    settings: Plain
    job: Plain
    pool: Plain
    orders: Annotated[list[Plain], operator.add]
    failures: Annotated[list[str], operator.add]
    notes: Annotated[list[str], operator.add]
    uses: Annotated[list[Plain], operator.add]
    decision: Plain
    stand_in: Plain


class DeployState(TypedDict):
    """What one node's deployer gets: its briefs, one per plan that changes something there."""

    node: str
    briefs: list[Plain]


class EpochState(TypedDict, total=False):
    """ticket: the slot's, with its observation. result: control.state.EpochResult, whole after `result`.
    settings: as in SlotState."""

    ticket: Plain
    settings: Plain
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


def stored_settings(settings: Settings) -> Plain:
    """The settings as checkpoints keep them: without keys of language models."""
    return settings.model_dump(mode="json", exclude={name for name in Settings.model_fields if "key" in name})
