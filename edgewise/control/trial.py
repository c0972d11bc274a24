"""A placement tried out: what the twin predicts of it beside the incumbent and the optimiser's plan.

For those who still look for a plan. The draws are not the gate's, so that what was chosen by them is judged afresh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgewise.control.floors import floored
from edgewise.control.gate import gain, score
from edgewise.control.guard import project
from edgewise.control.intents import aims, pins_of
from edgewise.control.outlook import Outlook, outlook
from edgewise.control.planning import rehearse, schedule
from edgewise.control.state import Job
from edgewise.domain.decision import Score
from edgewise.domain.plan import Plan
from edgewise.settings import Settings


@dataclass(frozen=True, slots=True)
class Tried:
    """A plan as it would be carried out. changed: what projection changed, in words. gain: predicted over the
    incumbent as the gate counts it, and its standard error."""

    plan: Plan
    changed: tuple[str, ...]
    score: Score
    gain: tuple[float, float]


def trial(job: Job, plans: Sequence[Plan], settings: Settings) -> tuple[Tried, ...]:
    """The plans' predictions, paired by draw; the first plan stands for the incumbent where there is none."""
    ahead = outlook(job.observation, job.track, settings, intents=job.intents)
    base = job.incumbent or plans[0]
    ready = [_ready(p, job, ahead, settings) for p in (base, *plans)]
    evaluate = rehearse(ahead, job.observation, settings, settings.select_draws, job.decision_id, "trial")
    scores = np.asarray(evaluate([p for p, _ in ready]), dtype=np.float64)
    return tuple(
        Tried(plan, changed, score(row), gain(scores[0], row))
        for (plan, changed), row in zip(ready[1:], scores[1:], strict=True)
    )


def _ready(plan: Plan, job: Job, ahead: Outlook, settings: Settings) -> tuple[Plan, tuple[str, ...]]:
    o = job.observation
    pins, floors = pins_of(job.incumbent, job.intents, o), aims(job.intents, o).floors
    kept = (*pins, *plan.pins)
    feasible = project(plan, o, job.incumbent, settings, job.asked, replicas_only=True, pins=kept)
    made = schedule(feasible.plan, ahead, o, settings, job.decision_id)
    return floored(made, settings.floor_share, (*floors, *made.floors)), feasible.notes
