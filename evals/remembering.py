"""The product's case memory in the twin: the live one's ranking, merging and forgetting, without a disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from edgewise.control.cases import case_of, worth_a_case
from edgewise.control.merit import regret
from edgewise.control.reflect import outcome
from edgewise.control.situation import reach, situation
from edgewise.control.state import Job
from edgewise.control.summaries import ideals, summarise
from edgewise.domain.decision import Decision, Hindsight
from edgewise.domain.records import CaseOutcome, RecalledCase, SlotSummary
from edgewise.settings import Settings
from memory.book import CaseBook

KEPT_SLOTS = 64


@dataclass(slots=True)
class Remembering:
    """Cases of one run, added to those in `book`. run: makes their ids its own. open: decisions whose outcome is
    still to come; done: the outcomes measured; looked: how many looks back were taken in."""

    book: CaseBook
    settings: Settings
    run: str
    open: list[Decision] = field(default_factory=list)
    done: dict[str, CaseOutcome] = field(default_factory=dict)
    slots: list[SlotSummary] = field(default_factory=list)
    looked: int = 0

    def recall(self, job: Job) -> tuple[RecalledCase, ...]:
        o = job.observation
        here = situation(o, job.track, job.incumbent)
        return tuple(self.book.recall(here, self.settings.recall_cases, reach(o), both=True))

    def note(self, job: Job, decision: Decision) -> None:
        self.slots = [*self.slots, summarise(job.observation, decision.id)][-KEPT_SLOTS:]
        if worth_a_case(decision):
            self.book.remember(case_of(self._name(decision), job, decision))
            self.open.append(decision)

    def reflect(self, job: Job, seen: Sequence[tuple[Decision, Hindsight]]) -> None:
        """Outcomes of decisions whose time has come, and what hindsight has found since."""
        o, s = job.observation, self.settings
        due = [d for d in self.open if d.slot + s.reflect_slots <= o.slot]
        self.open = [d for d in self.open if d.slot + s.reflect_slots > o.slot]
        for d in due:
            span = [x for x in self.slots if d.slot < x.slot <= d.slot + s.reflect_slots]
            measured = outcome(span, ideals(o), s.alpha, s.slot_s)
            if measured is not None:
                self.done[d.id] = measured
                self.book.score(self._name(d), measured)
        for d, hindsight in seen[self.looked :]:
            if d.id in self.done and (known := regret(d, hindsight)) is not None:
                self.book.score(self._name(d), replace(self.done.pop(d.id), regret=known))
        self.looked = len(seen)

    def _name(self, decision: Decision) -> str:
        return f"{self.run}-{decision.id}"
