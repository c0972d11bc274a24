"""The product's hindsight in the twin: each decision again, on the prompts that came and what they took."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edgewise.control.carry import Carry, looked_back
from edgewise.control.hindsight import horizon_s, instructive, look_back
from edgewise.control.regret import entries
from edgewise.control.state import Job
from edgewise.domain.decision import Decision, Hindsight
from edgewise.settings import Settings
from edgewise.twin.demand import Demand


@dataclass(frozen=True, slots=True)
class Waiting:
    """A decision whose prompts are still to come, `span_s` seconds of them."""

    job: Job
    decision: Decision
    span_s: float


@dataclass(slots=True)
class Books:
    """demand: of the whole run; only what came before a moment is looked at then. found: what was seen so far."""

    demand: Demand
    settings: Settings
    waiting: list[Waiting] = field(default_factory=list)
    found: list[tuple[Decision, Hindsight]] = field(default_factory=list)

    def note(self, job: Job, decision: Decision) -> None:
        if instructive(job, decision):
            self.waiting.append(Waiting(job, decision, horizon_s(job, self.settings)))

    def close(self, carry: Carry, now_s: float, slot: int) -> Carry:
        """The carry with all that can be known by now."""
        ready = [w for w in self.waiting if w.decision.at_s + w.span_s <= now_s]
        self.waiting = [w for w in self.waiting if w.decision.at_s + w.span_s > now_s]
        for w in ready:
            came = between(self.demand, w.decision.at_s, w.span_s)
            seen = look_back(w.job, w.decision, came, w.span_s, self.settings)
            if seen is not None:
                self.found.append((w.decision, seen))
                carry = looked_back(carry, w.decision, entries(w.decision, seen), slot, self.settings)
        return carry


def between(demand: Demand, from_s: float, span_s: float) -> Demand:
    """The prompts of [from_s, from_s + span_s), times counted from its start."""
    first, last = np.searchsorted(demand.at_s, (from_s, from_s + span_s))
    cut = Demand._make(column[first:last] for column in demand)
    return cut._replace(at_s=cut.at_s - from_s)
