"""What is remembered of a decision, and when. Pure."""

from __future__ import annotations

from edgewise.control.situation import describe, situation
from edgewise.control.state import Job
from edgewise.domain.decision import Decision, Mode
from edgewise.domain.records import Case


def worth_a_case(decision: Decision) -> bool:
    """Whether something was decided anew, and carried out."""
    acted = decision.mode is Mode.ACTIVE and bool(decision.plan.replicas)
    return acted and (decision.verdict.accepted or decision.trigger != "slot")


def case_of(case_id: str, job: Job, decision: Decision) -> Case:
    """The case of a decision, its outcome still to come."""
    chosen = next((c for c in decision.candidates if c.plan.id == decision.chosen), None)
    stood = next((c for c in decision.candidates if c.source == "incumbent"), None)
    return Case(
        id=case_id,
        decision=decision.id,
        at_s=decision.at_s,
        situation=situation(job.observation, job.track, job.incumbent),
        placement=decision.plan.replicas,
        predicted=chosen.score.mean if chosen else 0.0,
        summary=describe(job.observation, job.track, decision.plan),
        stood=stood.score.mean if stood else 0.0,
        source=chosen.source if chosen else decision.plan.source.value,
        roles=decision.plan.roles,
        alpha=decision.plan.alpha,
    )
