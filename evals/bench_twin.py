"""How fast the twin is: events per second of whole runs, rollouts per second, on one core, after compiling."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from typing import Any

import numpy as np

from edgewise.control.forecast import Forecast, draws
from edgewise.control.intake import merge, no_telemetry
from edgewise.control.rolling import demand_draws, product_rules, scene
from edgewise.control.seeds import generator
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.model import Task
from edgewise.domain.observation import ClusterFacts, NodeFact, ReplicaFact
from edgewise.domain.plan import Source
from edgewise.optimise.problem import Prices, problem
from edgewise.optimise.weights import make_plan
from edgewise.policy import dispatch
from edgewise.settings import load_settings
from edgewise.twin.arrays import EVENTS, FIXED
from edgewise.twin.plans import arrange
from edgewise.twin.rollout import roll
from edgewise.twin.run import run
from evals.policies import greedy, rules, size_shares
from evals.scenario import LoadTime, MeanService, ModelEntry, NodeEntry, Scenario, SyntheticEntry, WorkloadEntry
from evals.setting import Setting, setting

LOAD = 0.8
SIZES = ((7, 4), (500, 20))
HORIZON_S = 300.0
ROLLOUT_DRAWS, ROLLOUT_PLANS = 16, 4


def world(nodes: int, models: int, duration_s: float) -> Scenario:
    """A generated cluster with bursty arrivals: unlike nodes, models of 0.8 to 8 s, memory for about half of the
    models (or five) on each node. As in paper7 a prompt takes 2.5 s on average."""
    means = np.geomspace(0.8, 8.0, models)
    need = np.linspace(1.0, 5.0, models)
    memory = float(need.sum()) / 2 if models <= 6 else float(np.sort(need)[-5:].sum())
    speeds = (1.0, 1.0, 1.5, 1.0, 0.8, 0.8, 0.6)
    return Scenario(
        name=f"bench-{nodes}x{models}",
        nodes=tuple(NodeEntry(f"n{i}", memory, speeds[i % 7]) for i in range(nodes)),
        models=tuple(
            ModelEntry(
                f"m{j}", Task.TEXT_GENERATION, float(need[j]), LoadTime(10.0), MeanService(float(means[j]), 0.5)
            )
            for j in range(models)
        ),
        workload=WorkloadEntry(
            synthetic=tuple(SyntheticEntry(f"m{j}", float(means[j] ** -0.5), "mmpp") for j in range(models)),
            target_load=LOAD,
        ),
        duration_s=duration_s,
    )


def bench(repeats: int = 3) -> list[dict[str, Any]]:
    """One row per size, as `bench --json` gives them. Times are the best of `repeats`, in seconds of this
    process's CPU, since figures are per core and the machine may have other work."""
    rows = []
    for nodes, models in SIZES:
        where = setting(world(nodes, models, 200_000 / nodes), 1)
        began = time.process_time()
        small = setting(world(nodes, models, 60.0), 1)
        _whole(small)
        compile_s = time.process_time() - began
        runs = [_whole(where) for _ in range(repeats)]
        rows.append(
            {
                "name": "twin",
                "size": f"{nodes}x{models}",
                "events_per_s": max(events / took_s for events, took_s, _ in runs),
                "events": runs[0][0],
                "first_call_s": compile_s,
                "same_bytes": len({digest for _, _, digest in runs}) == 1,
            }
        )
        if (nodes, models) == SIZES[0]:
            rows[-1] |= _rollouts(where, repeats)
    return rows


def _whole(where: Setting) -> tuple[int, float, bytes]:
    """(events, seconds, digest of all answers) of a run under marginal-cost dispatch on the greedy fill."""
    twin = where.twin(rules(dispatch.MARGINAL, FIXED, where))
    placement = greedy(where)
    twin.stand(placement)
    twin.want(placement)
    twin.share(np.broadcast_to(size_shares(where), placement.shape))
    began = time.process_time()
    run(twin, None, 1e9)
    took_s = time.process_time() - began
    digest = hashlib.blake2b(twin.state.finished_s.tobytes() + twin.state.node.tobytes()).digest()
    return int(twin.state.tally[EVENTS]), took_s, digest


def _rollouts(where: Setting, repeats: int) -> dict[str, float]:
    placement = greedy(where)
    believed = where.believed
    names = [n.id for n in believed.nodes], [m.id for m in believed.models]
    facts = ClusterFacts(
        0.0,
        tuple(NodeFact(n.id, True, n.memory_gib, 0.0) for n in believed.nodes),
        tuple(
            ReplicaFact(names[0][n], names[1][m], ReplicaState.READY)
            for n, m in zip(*np.nonzero(placement), strict=True)
        ),
    )
    o = merge(believed, facts, no_telemetry(0.0), at_s=0.0, slot=0, slot_s=30.0, epoch_slots=10)
    p = problem(o, Prices())
    d = where.arrivals.demand
    pairs = np.bincount(d.access * len(names[1]) + d.model, minlength=placement.size).reshape(placement.shape)
    rates = pairs / where.scenario.duration_s
    ahead = Forecast(rates, np.full(len(names[1]), 1e3), rates * 1e3, np.full(len(names[1]), 2.0))
    rng, stage = generator("bench"), scene(o)
    prompts = demand_draws(stage, o, ahead, draws(ahead, rng, ROLLOUT_DRAWS), p.access, rng, HORIZON_S)
    plan = replace(make_plan(p, placement, rates.sum(axis=0), 1.0, "bench", (0.0, 1e9)), source=Source.OPTIMISER)
    plans = [arrange(plan, *names)] * ROLLOUT_PLANS
    roll(stage.snapshot, plans[:1], prompts[:1], product_rules(load_settings()), HORIZON_S)
    best = 0.0
    for _ in range(repeats):
        began = time.process_time()
        out = roll(stage.snapshot, plans, prompts, product_rules(load_settings()), HORIZON_S)
        best = max(best, ROLLOUT_DRAWS * ROLLOUT_PLANS / (time.process_time() - began))
    return {
        "rollouts_per_s": best,
        "rollout_horizon_s": HORIZON_S,
        "events_per_rollout": out.events / (ROLLOUT_DRAWS * ROLLOUT_PLANS),
    }
