"""The controller's own forecast, slot by slot, from the same observations as in a run."""

from __future__ import annotations

import numpy as np

from edgewise.control.forecast import Forecast, Track, draws, follow, forecast
from edgewise.control.intake import merge
from edgewise.control.rolling import MOST_BURST
from edgewise.control.seeds import generator
from edgewise.domain.observation import ClusterFacts, DemandFact, NodeFact, Observation, TelemetryFacts
from edgewise.domain.world import World
from edgewise.optimise.problem import Prices, problem
from edgewise.twin.demand import Floats
from evals.backtest.scores import LEVELS, Predicted
from evals.backtest.series import Series

DRAWS = 200


def predict(s: Series, world: World, seed: int) -> tuple[Predicted, Predicted]:
    """By access node and model, [I, A, M], and by model, [I, M]. Intervals are of what would come: the draws of the
    rate and, around each, arrivals as the rollouts have them."""
    track, cells, kinds = Track(), [], []
    for t in range(1, s.issued.stop):
        o = _observation(s, world, t)
        track = follow(track, o)
        if t in s.issued:
            p = problem(o, Prices())
            ahead = forecast(track, p, s.window * s.slot_s)
            at = [p.access.index(n.id) for n in world.nodes]
            rates = _arrivals(ahead, s, generator("backtest", str(seed), str(t)))[:, at]
            cells.append((ahead.mean[at], rates))
            kinds.append((ahead.mean.sum(axis=0), rates.sum(axis=1)))
    return _predicted(cells), _predicted(kinds)


def _observation(s: Series, world: World, t: int) -> Observation:
    """What the ports would say at the start of slot t: counts of the window before it."""
    first, now_s = max(0, t - s.window), t * s.slot_s
    counts, window_s = s.counts[first:t].sum(axis=0), (t - first) * s.slot_s
    demand = tuple(
        DemandFact(n.id, m.id, int(counts[a, j]), window_s)
        for a, n in enumerate(world.nodes)
        for j, m in enumerate(world.models)
    )
    nodes = tuple(NodeFact(n.id, True, n.memory_gib, 0.0) for n in world.nodes)
    return merge(
        world,
        ClusterFacts(now_s, nodes, ()),
        TelemetryFacts(now_s, (), demand, ()),
        at_s=now_s,
        slot=t,
        slot_s=s.slot_s,
        epoch_slots=s.ahead,
    )


def _arrivals(ahead: Forecast, s: Series, rng: np.random.Generator) -> Floats:
    """[DRAWS, A, M] mean rates that may come: each draw's rate, with the clumped arrivals of a rollout around it."""
    span_s = s.ahead * s.slot_s
    rates = draws(ahead, rng, DRAWS)
    totals = rates.sum(axis=1) * span_s
    burst = np.clip(ahead.bursts, 1.0, MOST_BURST)
    came = rng.gamma(np.maximum(totals / burst, 1e-6), burst)
    part = rates / np.maximum(rates.sum(axis=1, keepdims=True), 1e-12)
    return np.asarray(rng.poisson(came[:, None, :] * part) / span_s)


def _predicted(rows: list[tuple[Floats, Floats]]) -> Predicted:
    mean, many = np.array([r[0] for r in rows]), np.stack([r[1] for r in rows])
    low = {level: np.quantile(many, (1 - level) / 2, axis=1) for level in LEVELS}
    return Predicted(mean, low, {level: np.quantile(many, (1 + level) / 2, axis=1) for level in LEVELS})
