"""One prompt on its way through the gateway, and what may be decided about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from edgewise.domain.model import ModelSpec, PromptSize
from edgewise.domain.records import PromptRow, PromptStatus
from edgewise.policy.dispatch import Bools
from edgewise.policy.fair import COMMON
from serving.gateway.fleet import Sent


@dataclass(slots=True, eq=False)
class Prompt:
    """An accepted prompt. `model`, `access`, `node` are indices of the world; seconds are run-clock seconds.

    service_s: expected at speed 1. deadline_at_s: the answer must be back by then. tried: nodes it was sent to.
    reserved: the loading node it waits for while held, -1 for none. took_s: compute seconds, as its node says.
    served: where it was sent last, None: nowhere.
    """

    id: str
    model: int
    spec: ModelSpec
    access: int
    access_id: str
    size: PromptSize
    service_s: float
    arrived_s: float
    ideal_s: float
    tried: Bools
    operation: str = "text_completion"
    tenant: str = COMMON
    session: str = ""
    took_s: float | None = None
    reserved: int = -1
    attempts: int = 0
    served: str | None = None
    decision: str | None = None
    started_s: float | None = None
    cold_start: bool = False
    stream_begun: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None
    status: PromptStatus = PromptStatus.PENDING
    error: str = ""

    @property
    def deadline_at_s(self) -> float:
        return self.arrived_s + self.spec.deadline_s


class Send(NamedTuple):
    """To this node, now; the ledger has it already."""

    sent: Sent


class Hold(NamedTuple):
    """No ready replica is worth it: wait, until `until_s` at most. node: the loading replica waited for, or -1."""

    until_s: float
    node: int


class Shed(NamedTuple):
    """It would miss its deadline. retry_after_s: when a prompt like it may expect an answer in time."""

    retry_after_s: float
    reason: str


class Exhausted(NamedTuple):
    """Sent as often as allowed, never answered."""

    attempts: int


Verdict = Send | Hold | Shed | Exhausted


def row_of(prompt: Prompt, finished_s: float | None) -> PromptRow:
    """The line of events.jsonl. Pending prompts have no end."""
    size = prompt.size
    return PromptRow(
        id=prompt.id,
        model=prompt.spec.id,
        access_node=prompt.access_id,
        node=prompt.served,
        arrived_s=prompt.arrived_s,
        started_s=prompt.started_s,
        finished_s=finished_s,
        status=prompt.status,
        decision=prompt.decision,
        attempts=prompt.attempts,
        deadline_s=prompt.spec.deadline_s,
        ideal_s=prompt.ideal_s,
        stream_begun=prompt.stream_begun,
        cold_start=prompt.cold_start,
        input_tokens=prompt.input_tokens if prompt.input_tokens is not None else size.input_tokens or None,
        output_tokens=prompt.output_tokens,
        images=size.images or None,
        error=prompt.error,
        asked_output_tokens=size.output_tokens or None,
        steps=size.steps or None,
    )
