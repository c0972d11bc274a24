"""The policies with a placement of their own that an optimiser found offline: static-optimised and slot-weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgewise.control.forecast import Forecast, draws
from edgewise.control.intake import merge, no_telemetry
from edgewise.control.rolling import demand_draws, marginal_rules, rolling, scene
from edgewise.control.seeds import generator
from edgewise.domain.observation import ClusterFacts, NodeFact
from edgewise.domain.plan import Plan
from edgewise.optimise.estimate import scorer
from edgewise.optimise.placement import Limits, by_plans, cover, fill_memory, search
from edgewise.optimise.problem import Bools, Floats, Prices, Problem, problem
from edgewise.optimise.weights import make_plan, route_weights
from edgewise.twin.run import Twin
from evals.draws import access_shares
from evals.mix import mixes
from evals.scenario import Scenario
from evals.setting import Setting

DRAWS, HORIZON_S = 6, 900.0
DISPERSION = 2.0  # of arrivals, taken for granted offline: recorded traces have 2 to 10 in a slot
STEPS = 40
EVENTS = 4e7  # rollouts of the search may have so many; a large cluster takes shorter and fewer ones
_FOUND: dict[str, tuple[Bools, Problem]] = {}


def offline(where: Setting) -> tuple[Bools, Problem]:
    """The placement that local search with rollouts finds for the mean load and the mix before events: all that
    DESIGN lets `static-optimised` know. The same for every seed with the same beliefs."""
    key = repr((where.scenario, [m.mean_service_s for m in where.believed.models]))
    if key not in _FOUND:
        _FOUND[key] = _search(where)
    return _FOUND[key]


def first_rates(scenario: Scenario) -> Floats:
    """Mean prompts per second [N, M] of the first stretch, by access node."""
    mix = mixes(scenario)[0].models
    rates = np.array([mix.get(m.id, 0.0) for m in scenario.models])
    return np.asarray(access_shares(scenario)[:, None] * rates[None, :])


def _search(where: Setting) -> tuple[Bools, Problem]:
    scenario, world = where.scenario, where.believed
    facts = ClusterFacts(0.0, tuple(NodeFact(n.id, True, n.memory_gib, 0.0) for n in world.nodes), ())
    o = merge(
        world, facts, no_telemetry(0.0), at_s=0.0, slot=0, slot_s=scenario.slot_s, epoch_slots=scenario.epoch_slots
    )
    mean_s = np.array([m.mean_service_s for m in world.models])
    rates = first_rates(scenario)
    if rates.sum() <= 0:  # the clock of a trace says how many come; the prior is that every model brings equal work
        rates = rates + 0.5 * scenario.capacity / len(world.models) / len(world.nodes) / mean_s
    p = replace(problem(o, Prices(alpha=0.0, beta=0.0)), burst=np.full(len(world.models), DISPERSION))
    per_s = 3.0 * float(rates.sum())
    horizon_s = min(HORIZON_S, max(60.0, EVENTS / per_s / 2000))
    count = int(min(DRAWS, max(2, EVENTS / (per_s * horizon_s) / 500)))
    ahead = Forecast(rates, np.full(len(world.models), 1e6), rates * 1e6, np.full(len(world.models), DISPERSION))
    rng = generator("static-optimised", scenario.name)
    stage = scene(o)
    prompts = demand_draws(stage, o, ahead, draws(ahead, rng, count), p.access, rng, horizon_s)
    # Loads are free here: where nothing stands, they would cost each plan the same.
    ph = stage.snapshot.physics
    stage = replace(stage, snapshot=replace(stage.snapshot, physics=ph._replace(
        load_mean=np.full_like(ph.load_mean, 1e-6), load_sigma=np.zeros_like(ph.load_sigma))))  # fmt: skip
    evaluate = rolling(stage, p, prompts, marginal_rules(), horizon_s)
    totals = rates.sum(axis=0)

    def plan_of(here: Bools) -> Plan:
        return make_plan(p, here, totals, 1.0, "static", (0.0, 1e9))

    limits = Limits(np.zeros(p.held.shape, dtype=bool), np.zeros(p.held.shape, dtype=bool))
    steps = int(min(STEPS, max(2, EVENTS / (per_s * horizon_s * count) / 64)))
    estimate = scorer(p, draws(ahead, generator("static-optimised", "estimate"), 8), totals)
    first = fill_memory(p, cover(p, limits.base), limits, estimate)
    found = search(p, first.placement, limits, by_plans(plan_of, evaluate), steps, rng)
    return found.placement, p


@dataclass(slots=True)
class SlotWeights:
    """Fixed placement; each slot's routing probabilities water-fill the rates of the last `window` slots."""

    where: Setting
    placement: Bools
    problem: Problem
    shares: Floats
    window: int = 4

    def slot(self, twin: Twin, number: int) -> None:
        if number == 0:
            twin.want(self.placement)
            twin.share(np.broadcast_to(self.shares, self.placement.shape))
        d, now_s = twin.demand, twin.now_s
        since_s = max(0.0, now_s - self.window * self.where.scenario.slot_s)
        first, last = np.searchsorted(d.at_s, (since_s, now_s))
        models = self.placement.shape[1]
        counts = np.bincount(d.model[first:last], minlength=models) + 0.1
        weights = route_weights(
            self.problem, self.placement, np.asarray(counts / max(1.0, now_s - since_s), np.float64)
        )
        rows = np.where(self.placement.any(axis=0), np.arange(models), -1)
        twin.route(np.broadcast_to(rows, self.placement.shape).astype(np.int64), np.ascontiguousarray(weights.T))
