"""edgewise itself as a policy in the twin: the product's own decision functions, slot by slot, without a graph.

The same functions run in the slot and epoch graphs (tests/contract/test_control_plain_and_graph.py holds them to it).
An epoch's result is taken by the slot after the one that asked for it, as in the live system, where the planner
thinks in the background.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from agents.deployer import arrange as deploy
from edgewise.control.carry import Carry, after, planning_due, start_planning, take_result, ticket
from edgewise.control.decide import decide
from edgewise.control.intake import URGENT, take
from edgewise.control.planning import epoch_plans
from edgewise.domain.decision import Decision, Mode
from edgewise.domain.intent import Intent
from edgewise.domain.observation import Observation
from edgewise.domain.records import RecalledCase
from edgewise.settings import Settings, load_settings
from edgewise.twin.plans import arrange
from edgewise.twin.run import Twin
from evals.foresight import Foresight
from evals.hindsight import Books
from evals.observe import observe
from evals.remembering import Remembering
from evals.setting import Setting

WINDOW_SLOTS = 2  # of demand and latency figures
FORESIGHT_SLOTS = 5  # whose arrivals a clairvoyant takes for the demand it sees


def settings_of(where: Setting) -> Settings:
    """The product's defaults at the scenario's cadence."""
    s = where.scenario
    return load_settings(
        slot_s=s.slot_s,
        epoch_slots=s.epoch_slots,
        window_s=WINDOW_SLOTS * s.slot_s,
        stale_after_s=max(15.0, s.slot_s),
    )


def clairvoyant_settings_of(where: Setting) -> Settings:
    """As the product's, but a prediction that is right needs no margin, thinking and moving cost nothing, and mean
    latency is all that counts: it is the bound the others are held against."""
    usual = settings_of(where)
    changes = {
        "alpha": 0.0,
        "beta": 0.0,
        "gate_margin": 0.0,
        "dwell_slots": 0,
        "finalists": 24,
        "max_changes_per_epoch": 1000,
    }
    return usual.model_copy(update=changes)


@dataclass(slots=True)
class Product:
    """Decides each slot and plans each epoch, or when something urgent happens. clairvoyant: with the true future for
    forecast and draws: what will come counts as demand, and plans are scored by running the true world on. books:
    keeps the hindsight ledger, and lets it act; None: none is kept. intents: what the operator has announced. memory:
    cases of earlier runs, and of this one; None: without. It is asked only where a decision looks at cases: at a
    shift, a loss, and when the planner runs."""

    where: Setting
    settings: Settings
    clairvoyant: bool = False
    carry: Carry = field(default_factory=Carry)
    decisions: list[Decision] = field(default_factory=list)
    books: Books | None = None
    intents: tuple[Intent, ...] = ()
    memory: Remembering | None = None

    def slot(self, twin: Twin, number: int) -> None:
        ahead_s = FORESIGHT_SLOTS * self.settings.slot_s if self.clairvoyant else 0.0
        self.act(twin, observe(self.where, twin, number, self.settings.window_s, ahead_s), number)

    def act(self, twin: Twin, observation: Observation, number: int) -> None:
        """A slot on what was observed: decided, planned where that is due, and in effect."""
        self.carry = take_result(self.carry, number, self.settings)
        if self.books is not None:
            self.carry = self.books.close(self.carry, observation.at_s, number)
        job = take(ticket(self.carry, number, Mode.ACTIVE, intents=self.intents), observation)
        if self.memory is not None and job.observation.trigger in URGENT:
            job = replace(job, cases=self.memory.recall(job))
        future = Foresight(twin, self.where) if self.clairvoyant else None
        decision = decide(job, self.settings, deploy, future)
        self.decisions.append(decision)
        self.carry = after(self.carry, job, decision)
        if self.books is not None:
            self.books.note(job, decision)
        if self.memory is not None:
            self.memory.note(job, decision)
            self.memory.reflect(job, self.books.found if self.books is not None else ())
        if planning_due(self.carry, job, decision, self.settings):
            self.carry = start_planning(self.carry, decision)
            result_id = f"e-{self.carry.epochs:06d}"
            asked = replace(job, incumbent=decision.plan, asked=self.carry.asked, decision_id=result_id)
            cases: tuple[RecalledCase, ...] = self.memory.recall(job) if self.memory is not None else ()
            self.carry = replace(self.carry, finished=epoch_plans(asked, cases, self.settings, result_id, future))
        self._apply(twin, decision)
        believed = {x.model: x.times for x in job.observation.corrections if x.model}
        twin.believe(
            np.array([n.speed for n in job.observation.node_specs]),
            np.array([believed.get(m.id, 1.0) for m in job.observation.model_specs]),
        )

    def _apply(self, twin: Twin, decision: Decision) -> None:
        world = self.where.believed
        to = arrange(decision.plan, [n.id for n in world.nodes], [m.id for m in world.models])
        twin.want(to.goal)
        twin.share(to.shares)
        twin.route(to.rows, to.weights)
