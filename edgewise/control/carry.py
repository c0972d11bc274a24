"""What the controller carries from slot to slot, and how each slot changes it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from edgewise.control.announced import standing
from edgewise.control.decide import asked
from edgewise.control.forecast import Track
from edgewise.control.intake import URGENT
from edgewise.control.lift import JUDGED, REST_EPOCHS, demoted, lift
from edgewise.control.outlook import lease
from edgewise.control.regret import ROLL_BACK, Ledger, llm_lifts, regretted, roll_back, trust, written
from edgewise.control.residual import Residuals
from edgewise.control.spending import Spent, exhausted
from edgewise.control.state import Declined, EpochResult, Job, Proposed, Ticket
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.decision import Decision, Mode
from edgewise.domain.intent import Intent
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Plan, ReplicaGoal, Source
from edgewise.settings import Settings

KEPT_LIFTS = 32
KEPT_NOES = 100  # slots
# The incumbent is in trouble when its predicted objective, which is 1 at best, is so many times as far above 1 as
# when the planner last looked, and by at least this much.
TROUBLE_TIMES, TROUBLE_LEAST = 2.0, 0.25
USED_TO = 0.2
LIFTS_BUDGET = frozenset({"demand-shift", "intent", "node-loss", "slow-node", "waiting-without-replica"})


@dataclass(frozen=True, slots=True)
class Carry:
    """plan: in effect (None before the first active decision). asked: loads and drops asked for in `asked_epoch`.
    finished: the newest epoch result; result: the one slots take now. decisions, epochs: how many were started.
    rests_until: epoch up to which a demoted language model is not asked, and rests_why; spent: on it so far. calm:
    the incumbent's predicted objective in quiet times. ledger: predicted and realised gains of past decisions. back:
    a placement to go back to, offered to the gate up to slot back_until. declined: placements a person said no to.
    stood: what intents did at the last slot, in words."""

    plan: Plan | None = None
    track: Track = field(default_factory=Track)
    alive: tuple[str, ...] = ()
    asked: int = 0
    asked_epoch: int = -1
    finished: EpochResult | None = None
    result: EpochResult | None = None
    taken: str = ""
    decisions: int = 0
    epochs: int = 0
    lifts: tuple[float, ...] = ()
    rests_until: int = -1
    rests_why: str = ""
    spent: Spent = field(default_factory=Spent)
    calm: float = 1.0
    ledger: Ledger = ()
    back: Proposed | None = None
    back_until: int = -1
    residuals: Residuals = field(default_factory=Residuals)
    declined: tuple[Declined, ...] = ()
    stood: tuple[str, ...] = ()

    def demoted(self, epoch: int) -> bool:
        return epoch < self.rests_until


def take_result(carry: Carry, slot: int, settings: Settings) -> Carry:
    """The carry for a slot: the newest epoch result, unless it is older than an epoch: then demand has moved on. Of a
    demoted language model nothing is taken."""
    result = carry.finished
    if result is not None and slot // settings.epoch_slots > result.epoch + 1:
        result = None
    epoch = slot // settings.epoch_slots
    if result is not None and carry.demoted(epoch):
        result = replace(result, plans=tuple(p for p in result.plans if p.source != "llm"))
    fresh = carry.asked if carry.asked_epoch == epoch else 0
    return replace(carry, result=result, asked=fresh, asked_epoch=epoch)


def finished(carry: Carry, result: EpochResult) -> Carry:
    """The carry with an epoch's result to take. What one that no slot took has cost is not forgotten."""
    old = carry.finished
    if old is not None and old.id != carry.taken and (carry.result is None or carry.result.id != old.id):
        result = replace(result, llm=old.llm + result.llm)
    return replace(carry, finished=result)


def resting(carry: Carry, epoch: int, now_s: float, settings: Settings) -> str:
    """Why the language model is not asked now, in words; empty when it may be."""
    if carry.demoted(epoch):
        return f"demoted up to epoch {carry.rests_until}: {carry.rests_why}"
    return exhausted(carry.spent, now_s, settings)


def ticket(
    carry: Carry,
    slot: int,
    mode: Mode,
    notes: tuple[str, ...] = (),
    intents: tuple[Intent, ...] = (),
    llm_rests: str = "",
) -> Ticket:
    """The next slot's ticket. Call after `take_result`. llm_rests: as `resting` says."""
    return Ticket(
        decision_id=f"d-{carry.decisions:06d}",
        slot=slot,
        incumbent=carry.plan,
        track=carry.track,
        mode=mode,
        alive_before=carry.alive,
        result=carry.result,
        result_new=carry.result is not None and carry.result.id != carry.taken,
        asked=carry.asked,
        notes=notes,
        offers=_offers(carry, slot),
        trust=trust(carry.ledger, carry.asked_epoch),
        residuals=carry.residuals,
        declined=tuple(d for d in carry.declined if d.until >= slot),
        llm_rests=llm_rests,
        intents=intents,
        stood=carry.stood,
    )


def after(carry: Carry, job: Job, decision: Decision | None, hindsight: bool = True) -> Carry:
    """The carry after a slot. Only an active decision changes the plan in effect. hindsight: False where nobody looks
    back; then the language model is judged by predictions."""
    alive = tuple(n.id for n in job.observation.alive) or carry.alive
    stood = standing(job.intents, job.track, job.observation) if job.intents else ()
    carry = replace(carry, track=job.track, alive=alive, residuals=job.residuals, stood=stood)
    if decision is None:
        return carry
    carry = replace(carry, decisions=carry.decisions + 1, taken=decision.epoch_result or carry.taken)
    if any(c.source == ROLL_BACK and c.plan.id == decision.chosen for c in decision.candidates):
        carry = replace(carry, back=None)
    if job.result_new and not hindsight:
        carry = _lifted(carry, lift(decision), decision.epoch)
    if decision.mode is not Mode.ACTIVE or not decision.plan.replicas:
        return carry
    # The thrash budget is for quiet times: after a shift or a loss, or in trouble, it begins anew.
    lifted = job.observation.trigger in LIFTS_BUDGET or troubled(carry, decision)
    return replace(carry, plan=decision.plan, asked=0 if lifted else carry.asked + asked(job, decision))


def approved(carry: Carry, job: Job, decision: Decision) -> Carry:
    """The carry once a decision that waited for a person is carried out."""
    if any(c.source == ROLL_BACK and c.plan.id == decision.chosen for c in decision.candidates):
        carry = replace(carry, back=None)
    return replace(carry, plan=decision.plan, asked=carry.asked + asked(job, decision))


def refused(carry: Carry, no: Declined) -> Carry:
    """The carry once a person said no."""
    return replace(carry, declined=(*(d for d in carry.declined if d.until >= no.until - KEPT_NOES), no))


def looked_back(carry: Carry, decision: Decision, lines: Ledger, slot: int, settings: Settings) -> Carry:
    """The carry once it is known what became of a decision. One that is regretted is offered for roll-back for an
    epoch; a language model without realised lift rests."""
    carry = replace(carry, ledger=written(carry.ledger, lines))
    if demoted(llm_lifts(carry.ledger, carry.rests_until)):
        carry = _rests(carry, slot // settings.epoch_slots, "in hindsight")
    line = regretted(decision, lines)
    back = roll_back(decision, line) if line is not None else None
    return carry if back is None else replace(carry, back=back, back_until=slot + settings.epoch_slots)


def _offers(carry: Carry, slot: int) -> tuple[Proposed, ...]:
    back = carry.back
    if back is None or slot > carry.back_until or carry.plan is None:
        return ()
    return () if set(back.plan.replicas) == set(carry.plan.replicas) else (back,)


def planning_due(carry: Carry, job: Job, decision: Decision | None, settings: Settings) -> bool:
    """Whether the planner is to look now: at its cadence, when something urgent happens, or in trouble."""
    o = job.observation
    return o.trigger in URGENT or o.slot % settings.epoch_slots == 0 or troubled(carry, decision)


def start_planning(carry: Carry, decision: Decision | None) -> Carry:
    """The carry once the planner has been started: one more epoch, and how calm it is. Trouble is got used to slowly,
    so that the planner goes on looking while it lasts; calm is believed at once."""
    now = predicted(decision) if decision is not None else None
    calm = carry.calm if now is None else min(now, carry.calm + USED_TO * (now - carry.calm))
    return replace(carry, epochs=carry.epochs + 1, calm=calm)


def predicted(decision: Decision) -> float | None:
    """The incumbent's predicted objective, where the gate had to compare; None otherwise."""
    return next((c.score.mean for c in decision.candidates if c.source == "incumbent"), None)


def troubled(carry: Carry, decision: Decision | None) -> bool:
    """Whether what stands is predicted to do so much worse than at the planner's last look that it should look again
    now, not at its cadence: demand may have crept up without a step that counts as a shift."""
    score = predicted(decision) if decision is not None else None
    return score is not None and score - 1 > max(TROUBLE_TIMES * (carry.calm - 1), TROUBLE_LEAST)


def incumbent_of(observation: Observation, mode: Mode, settings: Settings) -> Plan | None:
    """A plan that says what stands already, for a controller that joins a running cluster; None when every model has
    yet to be placed, which is what the first fill is for."""
    alive = {n.id for n in observation.alive}
    up = (ReplicaState.READY, ReplicaState.LOADING)
    there = [r for r in observation.cluster.replicas if r.node in alive and r.state in up]
    if mode is Mode.ACTIVE or not there:
        return None
    return _facts_plan([ReplicaGoal(r.node, r.model) for r in there], observation, settings)


def _facts_plan(replicas: Sequence[ReplicaGoal], observation: Observation, settings: Settings) -> Plan:
    made = lease(observation, settings)
    return Plan("p-as-found", Source.INCUMBENT, *made, replicas=tuple(sorted(replicas)), reason="as found")


def _lifted(carry: Carry, gained: float | None, epoch: int) -> Carry:
    if gained is None:
        return carry
    lifts = (*carry.lifts, gained)[-KEPT_LIFTS:]
    carry = replace(carry, lifts=lifts)
    return _rests(carry, epoch, "as predicted") if demoted(lifts) else carry


def _rests(carry: Carry, epoch: int, how: str) -> Carry:
    why = f"{JUDGED} decisions in a row of negative lift {how}"
    return replace(carry, lifts=(), rests_until=epoch + REST_EPOCHS, rests_why=why)
