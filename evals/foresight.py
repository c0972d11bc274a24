"""What a clairvoyant knows: the true world runs on, on the prompts that will really come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgewise.control.rolling import scores
from edgewise.domain.plan import Plan
from edgewise.optimise.estimate import Evaluate
from edgewise.optimise.problem import Floats, Problem
from edgewise.twin.arrays import COMPLETED, LOG_ROWS
from edgewise.twin.demand import Demand
from edgewise.twin.loop import advance
from edgewise.twin.plans import arrange
from edgewise.twin.rollout import PATIENCE, Outcomes, arranged, copy_state, moves_between
from edgewise.twin.run import Twin
from evals.setting import Setting


@dataclass(frozen=True)
class Foresight:
    """A twin that stands still, in its setting. Implements control.state.Future."""

    twin: Twin
    where: Setting

    def evaluate(self, p: Problem) -> Evaluate:
        """Objectives[plan, 1] of plans over the problem's horizon, the prompts that are open now included."""

        def evaluate(plans: Sequence[Plan]) -> Floats:
            outcomes = [self._outcome(plan, p.horizon) for plan in plans]
            whole = Outcomes(
                np.stack([o.latency_s[0] for o in outcomes]),
                outcomes[0].count,
                np.stack([o.busy_s[0] for o in outcomes]),
                np.stack([o.moves[0] for o in outcomes]),
                0,
            )
            return scores(p, whole, [n.id for n in self.where.scenario.nodes], p.horizon)

        return evaluate

    def _outcome(self, plan: Plan, horizon_s: float) -> Outcomes:
        twin, world = self.twin, self.where.believed
        now_s, models = twin.now_s, len(world.models)
        d = twin.demand
        last = int(np.searchsorted(d.at_s, now_s + horizon_s))
        cut = Demand._make(column[:last] for column in d)
        to = arrange(plan, [n.id for n in world.nodes], [m.id for m in world.models])
        s = arranged(copy_state(twin.state), to)
        s.tally[LOG_ROWS] = len(s.log_s)  # no rows of what only might be
        ours = (s.status[:last] == 0) & (d.at_s[:last] < now_s + horizon_s)
        rules = self.twin.rules
        advance(twin.physics, cut, twin.happenings, s, rules, now_s + (1 + PATIENCE) * horizon_s, True)
        end_s = np.where(s.status[:last] == COMPLETED, s.finished_s[:last], s.clock[0])
        latency_s = np.bincount(cut.model[ours], (end_s - cut.at_s)[ours], models)
        count = np.bincount(cut.model[ours], minlength=models).astype(np.float64)
        moves = np.full((1, 1), float(moves_between(twin.state, s)))
        busy_s = s.busy_s - twin.state.busy_s
        latency = np.asarray(latency_s, np.float64)
        return Outcomes(latency[None, None], count[None], busy_s[None, None], moves, 0)
