"""Vetoes obeyed: a plan without the changes that a node's deployment agent refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgewise.control.floors import floored
from edgewise.control.guard import project
from edgewise.control.intents import aims, pins_of
from edgewise.control.outlook import Outlook
from edgewise.control.planning import schedule
from edgewise.control.state import Job, NodeOrder, Proposed
from edgewise.domain.plan import ChangeKind, Plan, ReplicaGoal
from edgewise.settings import Settings


def obey(proposed: Proposed, orders: Sequence[NodeOrder], job: Job, ahead: Outlook, settings: Settings) -> Proposed:
    """The proposal without its vetoed loads and drains, feasible again, with weights for what is left of it."""
    refused = [v for x in orders if x.plan_id == proposed.plan.id for v in x.vetoes]
    plan = without(proposed.plan, orders)
    if plan.replicas == proposed.plan.replicas:
        return proposed
    pins, floors = pins_of(job.incumbent, job.intents, job.observation), aims(job.intents, job.observation).floors
    kept = (*pins, *plan.pins)
    feasible = project(plan, job.observation, job.incumbent, settings, job.asked, pins=kept)
    scheduled = schedule(feasible.plan, ahead, job.observation, settings, job.decision_id)
    scheduled = floored(scheduled, 0.0, (*floors, *scheduled.floors))
    words = [f"{v.change.kind.value} of {v.change.model} on {v.change.node} refused: {v.reason}" for v in refused]
    return replace(proposed, plan=scheduled, note="; ".join(filter(None, (proposed.note, *words))))


def without(plan: Plan, orders: Sequence[NodeOrder]) -> Plan:
    """The plan's replicas minus refused loads plus refused drains."""
    replicas = set(plan.replicas)
    for x in orders:
        for v in x.vetoes if x.plan_id == plan.id else ():
            place = ReplicaGoal(v.change.node, v.change.model)
            if v.change.kind is ChangeKind.LOAD:
                replicas.discard(place)
            elif v.change.kind is ChangeKind.DRAIN:
                replicas.add(place)
    kept = [r for r in plan.replicas if r in replicas]
    return replace(plan, replicas=(*kept, *sorted(replicas - set(kept))))
