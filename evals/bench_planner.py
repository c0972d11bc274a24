"""How fast the planner is, and how good its placement from nothing: one full decision, dispatch, the fluid bound.

A decision is what the controller does in a slot in which the planner runs too, observing apart: forecast, proposals,
search, deployment agents, gate. It is timed in slots of a run in the twin, in states that ask for different work:
calm epochs, a sudden shift of demand, a lost node. `gap_to_bound`: the placement the product makes from nothing for
the rates of the workload; the highest utilisation of a node (work per second over speed) after exact water-filling of
routing over it, over the utilisation of all nodes' speed pooled, less one. Memory limits the placement alone.
`dispatch_us`: one call of policy.dispatch.choose over all nodes with the queues of that run, and booking the prompt
on its route; `dispatch_sampled_us`: the same on a sample of nodes, as the twin does where many hold the model.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgewise.control.carry import Carry
from edgewise.control.forecast import follow
from edgewise.control.outlook import outlook
from edgewise.control.planning import first_fill
from edgewise.domain.observation import DemandFact, Observation
from edgewise.optimise.fluid import gap
from edgewise.optimise.weights import placed
from edgewise.policy.dispatch import MARGINAL, READY, FleetArrays, choose, choose_among, note_sent
from edgewise.policy.sample import SAMPLE
from edgewise.settings import Settings
from edgewise.twin.arrays import FIXED
from edgewise.twin.run import Twin
from evals.bench_twin import world
from evals.observe import observe
from evals.policies import rules
from evals.product import Product, settings_of
from evals.setting import Setting, setting

SIZES = ((7, 4), (70, 10), (2000, 50))
SLOTS = {7: 60, 70: 24, 2000: 10}
CALLS = 2000


def bench(sizes: Sequence[tuple[int, int]] = SIZES, slots: int | None = None) -> list[dict[str, Any]]:
    """One row per size, as `bench --json` gives them. slots: how many are run (None: by size); decisions are timed
    from the third on, every second one an epoch, with a shift of demand and a lost node among them."""
    return [_row(nodes, models, slots or SLOTS.get(nodes, 16)) for nodes, models in sizes]


def _row(nodes: int, models: int, slots: int) -> dict[str, Any]:
    scenario = replace(world(nodes, models, 30.0 * (slots + 1)), epoch_slots=2)
    where = setting(scenario, 1)
    # Plans are judged over the usual epoch; the short one only has the planner asked more often.
    settings = settings_of(where).model_copy(update={"epoch_slots": 10})
    timed = _Timed(where, settings)
    twin = where.twin(rules(MARGINAL, FIXED, where))
    for number in range(slots):
        timed.slot(twin, number, slots)
        twin.run_until((number + 1) * scenario.slot_s, retake=True)
    whole, sampled = _dispatch_us(twin.state.fleet)
    return {
        "name": "planner",
        "size": f"{nodes}x{models}",
        "decisions": len(timed.wall_ms),
        "decision_p50_ms": float(np.quantile(timed.wall_ms, 0.5)),
        "decision_p95_ms": float(np.quantile(timed.wall_ms, 0.95)),
        "decision_cpu_p95_ms": float(np.quantile(timed.cpu_ms, 0.95)),
        "first_fill_ms": timed.first_ms,
        "gap_to_bound": _gap(where, settings),
        "dispatch_us": whole,
        "dispatch_sampled_us": sampled,
    }


class _Timed:
    """The controller's slots with a clock: every second slot is an epoch; in the middle of the run half of the models
    bring three times as much for a slot's window, later a node is gone for two slots."""

    def __init__(self, where: Setting, settings: Settings) -> None:
        self.where, self.settings, self.product = where, settings, Product(where, settings)
        self.wall_ms: list[float] = []
        self.cpu_ms: list[float] = []
        self.first_ms = 0.0

    def slot(self, twin: Twin, number: int, slots: int) -> None:
        seen = observe(self.where, twin, number, self.settings.window_s)
        seen = replace(seen, epoch_slots=self.settings.epoch_slots)
        if number in (slots // 2, slots // 2 + 1):
            seen = shifted(seen)
        if number in (3 * slots // 4, 3 * slots // 4 + 1):
            seen = without_node(seen)
        if number % 2 == 0 and number > 0:
            seen = replace(seen, trigger="epoch")
        began, cpu = time.perf_counter(), time.process_time()
        self.product.act(twin, seen, number)
        wall_ms, cpu_ms = (time.perf_counter() - began) * 1e3, (time.process_time() - cpu) * 1e3
        if number == 0:
            self.first_ms = wall_ms
        elif (number >= 2 and seen.trigger == "epoch") or number in (slots // 2, 3 * slots // 4):
            self.wall_ms.append(wall_ms)
            self.cpu_ms.append(cpu_ms)


def shifted(o: Observation) -> Observation:
    """The observation with three times the demand of every second model, and a third of the others'."""
    turned = {m.id: 3.0 if j % 2 else 1 / 3 for j, m in enumerate(o.model_specs)}
    demand = tuple(replace(d, arrivals=round(d.arrivals * turned[d.model])) for d in o.telemetry.demand)
    return replace(o, telemetry=replace(o.telemetry, demand=demand), trigger="slot")


def without_node(o: Observation) -> Observation:
    """The observation with its fastest node dead."""
    lost = max(o.node_specs, key=lambda n: n.speed).id
    nodes = tuple(replace(n, alive=False) if n.node == lost else n for n in o.cluster.nodes)
    return replace(o, cluster=replace(o.cluster, nodes=nodes), trigger="slot")


def _gap(where: Setting, settings: Settings) -> float:
    """Of the first fill for known rates on an empty cluster."""
    twin = where.twin(rules(MARGINAL, FIXED, where))
    d, duration_s = where.arrivals.demand, where.scenario.duration_s
    nodes, models = [n.id for n in where.believed.nodes], [m.id for m in where.believed.models]
    pairs = np.bincount(d.access * len(models) + d.model, minlength=len(nodes) * len(models))
    demand = tuple(
        DemandFact(nodes[k // len(models)], models[k % len(models)], int(c), duration_s) for k, c in enumerate(pairs)
    )
    seen = observe(where, twin, 0, settings.window_s)
    seen = replace(seen, at_s=1.0, telemetry=replace(seen.telemetry, at_s=1.0, demand=demand))
    track = follow(Carry().track, seen)
    ahead = outlook(seen, track, settings, free=True)
    plan = first_fill(seen, track, settings, "p-bench")
    return gap(ahead.problem, placed(ahead.problem, plan), ahead.rates)


def _dispatch_us(fleet: FleetArrays) -> tuple[float, float]:
    """Microseconds of CPU per prompt over all nodes, and over a sample of those that hold the model."""
    nodes, models = fleet.state.shape
    rng = np.random.default_rng(1)
    access, model = rng.integers(nodes, size=CALLS), rng.integers(models, size=CALLS)
    tried, ranks = np.zeros(nodes, np.bool_), np.empty(nodes, np.int64)
    holders = [np.nonzero(fleet.state[:, m] == READY)[0] for m in range(models)]
    picks = [rng.choice(h, SAMPLE, replace=False) if len(h) > SAMPLE else h for h in holders]
    picked = [np.sort(h).astype(np.int64) for h in picks]

    def whole(a: int, m: int) -> None:
        node = choose(MARGINAL, fleet, a, m, 1.0, tried, True, np.inf, 0.0, 0).node
        note_sent(fleet, a, m, max(node, 0))

    def sampled(a: int, m: int) -> None:
        choose_among(
            MARGINAL, fleet, a, m, 1.0, tried, True, np.inf, 0.0, 0, 1.0, picked[m], len(picked[m]), ranks
        )  # fmt: skip

    out = []
    for call in (whole, sampled):
        call(0, 0)
        best = np.inf
        for block in range(5):
            some = slice(block * CALLS // 5, (block + 1) * CALLS // 5)
            pairs = list(zip(access[some].tolist(), model[some].tolist(), strict=True))
            began = time.process_time()
            for a, m in pairs:
                call(a, m)
            best = min(best, (time.process_time() - began) / len(pairs))
        out.append(best * 1e6)
    return out[0], out[1]
