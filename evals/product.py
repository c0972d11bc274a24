"""edgewise itself as a policy in the twin: the product's own decision functions, slot by slot, without a graph.

The same functions run in the slot and epoch graphs (tests/contract/test_control_plain_and_graph.py holds them to it).
An epoch's result is taken by the slot after the one that asked for it, as in the live system, where the planner
thinks in the background.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from agents.deployer import arrange as deploy
from edgewise.control.carry import Carry, after, take_result, ticket, troubled
from edgewise.control.decide import decide
from edgewise.control.intake import URGENT, take
from edgewise.control.planning import epoch_plans
from edgewise.domain.decision import Decision, Mode
from edgewise.settings import Settings
from edgewise.twin.plans import arrange
from edgewise.twin.run import Twin
from evals.observe import observe
from evals.setting import Setting

WINDOW_SLOTS = 2  # of demand and latency figures


def settings_of(where: Setting) -> Settings:
    """The product's defaults at the scenario's cadence."""
    s = where.scenario
    return Settings(
        slot_s=s.slot_s,
        epoch_slots=s.epoch_slots,
        window_s=WINDOW_SLOTS * s.slot_s,
        stale_after_s=max(15.0, s.slot_s),
    )


@dataclass(slots=True)
class Product:
    """Decides each slot and plans each epoch, or when something urgent happens."""

    where: Setting
    settings: Settings
    carry: Carry = field(default_factory=Carry)
    decisions: list[Decision] = field(default_factory=list)

    def slot(self, twin: Twin, number: int) -> None:
        observation = observe(self.where, twin, number, self.settings.window_s)
        self.carry = take_result(self.carry, number, self.settings)
        job = take(ticket(self.carry, number, Mode.ACTIVE), observation)
        decision = decide(job, self.settings, deploy)
        self.decisions.append(decision)
        self.carry = after(self.carry, job, decision)
        if job.observation.trigger in URGENT or troubled(self.carry, decision):
            result_id = f"e-{self.carry.epochs + 1:06d}"
            asked = replace(job, incumbent=decision.plan, asked=self.carry.asked, decision_id=result_id)
            found = epoch_plans(asked, (), self.settings, result_id)
            self.carry = replace(self.carry, finished=found, epochs=self.carry.epochs + 1)
        self._apply(twin, decision)

    def _apply(self, twin: Twin, decision: Decision) -> None:
        world = self.where.believed
        to = arrange(decision.plan, [n.id for n in world.nodes], [m.id for m in world.models])
        twin.want(to.goal)
        twin.share(to.shares)
        twin.route(to.rows, to.weights)
