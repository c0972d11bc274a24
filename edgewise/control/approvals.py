"""A person's word before a plan is carried out: what is asked, what a slot goes on by meanwhile, and what a yes is
worth later. Pure.

A request is bound to the plan and the observation it was judged on, by a hash that the answer must name: nobody
approves what they have not been shown.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgewise.control.diff import LEAST_DIFFERENCE, diff, shares, weights
from edgewise.control.gate import gain
from edgewise.control.guard import project, violations
from edgewise.control.intake import stale_cluster
from edgewise.control.outlook import lease
from edgewise.control.state import Job
from edgewise.domain.codec import to_plain
from edgewise.domain.decision import Approval, ApprovalState, Candidate, ChangeOutcome, Decision, Mode, Rung
from edgewise.domain.errors import BadInput, Refused
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Plan, ReplicaGoal, Source
from edgewise.optimise.problem import Floats
from edgewise.settings import Settings

FLAT = ("made_at_s", "expires_s", "id", "source", "reason", "slower")


class UnknownApproval(BadInput):
    code, http_status = "approval_not_found", 404


class WrongHash(Refused):
    code = "approval_hash"


class NotApplied(Refused):
    """Approved in time, and yet not to be carried out any more."""

    code = "approval_lapsed"


class ApprovalOver(Refused):
    code, http_status = "approval_over", 410


@dataclass(frozen=True, slots=True)
class Word:
    """What became of a request, as the graph is resumed with. made_at_s, expires_s: the lease of an approved plan."""

    state: ApprovalState
    at_s: float
    by: str = ""
    why: str = ""
    made_at_s: float = 0.0
    expires_s: float = 0.0


def digest(plan: Plan, observation: Observation) -> str:
    """SHA-256 over the canonical JSON of plan and observation: keys sorted, no white space, UTF-8."""
    both = {"observation": to_plain(observation), "plan": to_plain(plan)}
    text = json.dumps(both, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def wanted(job: Job, decision: Decision, settings: Settings) -> bool:
    """Whether a person has to be asked before this decision is carried out."""
    if settings.approval == "off" or job.mode is not Mode.ACTIVE or not decision.plan.replicas:
        return False
    base = _base(job, decision)
    if settings.approval == "placement":
        # A kind that stands nowhere cannot wait for a person: the first fill and what was mended go through.
        return base is not None and set(base.replicas) != set(decision.plan.replicas) and bool(decision.candidates)
    before = job.incumbent
    return before is None or _substance(before) != _substance(decision.plan)


def stand_in(job: Job, decision: Decision, settings: Settings) -> Decision:
    """What the slot goes on by while `decision` waits: its incumbent, with the lease renewed."""
    base = _meanwhile(job, decision, settings)
    lead = -decision.verdict.margin
    if (found := _scores(decision, base.id, decision.chosen)) is not None:
        lead = found
    verdict = replace(
        decision.verdict, chosen=base.id, runner_up=decision.chosen, margin=lead, accepted=False,
        reason=f"goes on by the incumbent; what it would do: {decision.verdict.reason}",
    )  # fmt: skip
    changes = diff(base, job.observation.cluster, job.incumbent)
    outcomes = tuple(ChangeOutcome(c, "pending") for c in changes) if base.replicas else ()
    asked = decision.approval
    note = [] if asked is None else [f"{asked.id} waits until {asked.expires_s:.0f} s: {'; '.join(asked.changes)}"]
    return replace(
        decision,
        rung=Rung.OPTIMISER if decision.candidates else Rung.LAST_GOOD,
        chosen=base.id,
        runner_up=decision.chosen,
        plan=base,
        verdict=verdict,
        changes=outcomes,
        notes=(*decision.notes, *note),
    )


def ask(job: Job, decision: Decision, settings: Settings) -> Approval:
    """The request for `decision`: what it changes, in words, and why. Expires after settings.approval_slots."""
    v, at_s = decision.verdict, decision.at_s
    return Approval(
        id=f"a-{decision.id.removeprefix('d-')}",
        decision=decision.id,
        hash=digest(decision.plan, job.observation),
        plan=decision.plan.id,
        state=ApprovalState.WAITING,
        asked_s=at_s,
        expires_s=at_s + settings.approval_slots * settings.slot_s,
        changes=in_words(decision.plan, _base(job, decision) or job.incumbent),
        reason=v.reason,
        runner_up=_runner_up(decision),
        margin=v.margin,
        required=v.required,
        scores=tuple((c.source, c.plan.id, c.score) for c in decision.candidates),
    )


def allowed(job: Job, decision: Decision, settings: Settings) -> Decision:
    """The decision, or its incumbent where a person said no to that placement not long ago."""
    if not wanted(job, decision, settings):
        return decision
    mine = set(decision.plan.replicas)
    for no in job.declined:
        if job.observation.slot <= no.until and set(no.replicas) == mine:
            who = no.by or "somebody"
            note = (
                f"{decision.chosen} is not asked for up to slot {no.until}: {who} rejected its placement in {no.id}"
            )
            kept = stand_in(job, decision, settings)
            return replace(kept, notes=(*kept.notes, note))
    return decision


def ended(decision: Decision, meanwhile: Decision, word: Word) -> Decision:
    """The decision once somebody's word is known: carried out only when approved; else what the slot went on by
    stays on record."""
    assert decision.approval is not None
    done = replace(decision.approval, state=word.state, by=word.by, why=word.why, answered_s=word.at_s)
    by, why = f" by {word.by}" if word.by else "", f": {word.why}" if word.why else ""
    note = f"{done.id} {word.state.value}{by}{why}"
    if word.state is not ApprovalState.APPROVED:
        return replace(meanwhile, approval=done, notes=(*meanwhile.notes, note))
    plan = replace(decision.plan, made_at_s=word.made_at_s, expires_s=word.expires_s)
    return replace(decision, plan=plan, approval=done, notes=(*decision.notes, note))


def lapsed(
    plan: Plan, base: Sequence[ReplicaGoal], in_force: Plan | None, now: Observation, asked: int, settings: Settings
) -> str:
    """Why an approved plan cannot be carried out any more, in words; empty when it can. base: the replicas it was to
    replace. now: the facts of this moment; asked: loads and drops asked for in this epoch."""
    if hold := stale_cluster(now, settings.stale_after_s):
        return hold
    if in_force is not None and set(in_force.replicas) != set(base):
        return "the replicas in force are others than those it was to replace"
    if faults := violations(plan, now, settings):
        return faults[0]
    made = project(plan, now, in_force, settings, asked, replicas_only=True)
    if set(made.plan.replicas) != set(plan.replicas):
        return made.notes[0] if made.notes else "it does not fit the cluster any more"
    return ""


def renewed(now: Observation, settings: Settings) -> tuple[float, float]:
    """The lease of a plan carried out now."""
    return lease(now, settings)


def in_words(plan: Plan, base: Plan | None) -> tuple[str, ...]:
    """What a plan changes, a line each: replicas by name, weights and shares by whose they are."""
    before, after = set(base.replicas) if base else set(), set(plan.replicas)
    lines = [f"load {r.model} on {r.node}" for r in sorted(after - before)]
    lines += [f"stop {r.model} on {r.node}" for r in sorted(before - after)]
    models = sorted({m for (_, m), _ in _moved(weights(base), weights(plan))})
    nodes = sorted({n for (n, _), _ in _moved(shares(base), shares(plan))})
    lines += [f"new route weights for {', '.join(models)}"] if models else []
    lines += [f"new shares on {', '.join(nodes)}"] if nodes else []
    return tuple(lines) or ("nothing but the lease",)


def _moved(
    old: dict[tuple[str, str], float], new: dict[tuple[str, str], float]
) -> list[tuple[tuple[str, str], float]]:
    found = [(key, new.get(key, 0.0) - old.get(key, 0.0)) for key in sorted(set(old) | set(new))]
    return [(key, by) for key, by in found if abs(by) > LEAST_DIFFERENCE]


def _base(job: Job, decision: Decision) -> Plan | None:
    """What the decision would replace: the incumbent as the gate saw it (mended, where that was needed)."""
    weighed = next((c.plan for c in decision.candidates if c.source == "incumbent"), None)
    return weighed or job.incumbent


def _meanwhile(job: Job, decision: Decision, settings: Settings) -> Plan:
    base = _base(job, decision)
    if settings.approval == "all" and job.incumbent is not None:
        base = job.incumbent  # what was mended is a change as well
    made = lease(job.observation, settings)
    if base is None:
        return Plan(f"p-{decision.id.removeprefix('d-')}-x", Source.INCUMBENT, *made, replicas=())
    return replace(base, made_at_s=made[0], expires_s=made[1], slower=decision.plan.slower)


def _substance(plan: Plan) -> tuple[object, ...]:
    """What of a plan changes something: all but its name, its reasons and its lease."""
    return tuple(getattr(plan, f) for f in plan.__dataclass_fields__ if f not in FLAT)


def _scores(decision: Decision, plan: str, rival: str) -> float | None:
    """Predicted gain of one plan over another, by their means; None where one has no score."""
    by_id: dict[str, Candidate] = {c.plan.id: c for c in decision.candidates}
    if plan not in by_id or rival not in by_id:
        return None
    found, _ = gain(_row(by_id[rival]), _row(by_id[plan]))
    return found


def _row(candidate: Candidate) -> Floats:
    return np.array([candidate.score.mean])


def _runner_up(decision: Decision) -> str:
    """Whose the runner-up is and how far behind, in words."""
    rival = next((c for c in decision.candidates if c.plan.id == decision.runner_up), None)
    if rival is None:
        return "none: nothing else was weighed"
    return f"{rival.source} ({rival.plan.id}), predicted {decision.verdict.margin:.1%} behind"
