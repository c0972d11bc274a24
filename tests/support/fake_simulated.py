"""A stand-in for the twin: real prompts, least finish time over nodes slowed down by policy. Honest enough for a
report: no prompt is faster than its node, so the lower bound holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgewise.domain.measures import prompt_figures
from edgewise.domain.records import PromptRow, PromptStatus
from edgewise.twin.demand import Floats, Ints
from evals.arrivals import arrivals
from evals.scenario import Scenario
from evals.scenario_world import to_world

# How much longer everything takes than at best; the product is near the clairvoyant.
SLOWED = {
    "random-static": 1.20, "random": 1.18, "local-lru": 1.25, "round-robin": 1.12, "lew-lru": 1.08,
    "slot-weights": 1.10, "dpp": 1.07, "hdrl": 1.09, "static-optimised": 1.02, "marginal": 1.04, "edgewise": 1.01,
    "clairvoyant": 1.0,
}  # fmt: skip
POLICIES = tuple(SLOWED)


@dataclass(frozen=True, slots=True)
class FakePrompts:
    arrived_s: Floats
    finished_s: Floats
    latency_s: Floats
    model: Ints


@dataclass(frozen=True, slots=True)
class FakeReplicas:
    at_s: Floats
    kind: Ints
    node: Ints
    model: Ints


@dataclass(frozen=True, slots=True)
class FakeSimulated:
    scenario: Scenario
    policy: str
    seed: int
    figures: dict[str, Any]
    prompts: FakePrompts
    replicas: FakeReplicas
    end_s: float


def simulate(scenario: Scenario, policy: str, seed: int | None = None) -> FakeSimulated:
    """As the twin's: the same prompts for the same seed, whatever the policy."""
    seed = scenario.seed if seed is None else seed
    demand, world = arrivals(scenario, seed).demand, to_world(scenario)
    speed = np.array([n.speed for n in scenario.nodes]) / SLOWED[policy]
    free_s = np.zeros(speed.size)
    net_s = _network(scenario)
    finished = np.empty(demand.at_s.size)
    rows = []
    for i, (at_s, model, access) in enumerate(zip(demand.at_s, demand.model, demand.access, strict=True)):
        spec = scenario.models[model]
        end_s = np.maximum(free_s, at_s) + demand.service_s[i] / speed + net_s[model, access]
        node = int(end_s.argmin())
        free_s[node] = end_s[node] - net_s[model, access, node]
        finished[i] = end_s[node]
        rows.append(
            _row(scenario, i, int(access), node, at_s, finished[i], spec.id, world.models[model].mean_service_s)
        )
    end = float(finished.max(initial=scenario.duration_s))
    figures = prompt_figures(rows, end) | _others(scenario, policy)
    prompts = FakePrompts(demand.at_s, finished, finished - demand.at_s, demand.model)
    return FakeSimulated(scenario, policy, seed, figures, prompts, _replicas(scenario, seed), end)


def _network(scenario: Scenario) -> Floats:
    """[M, N, N] s both ways."""
    network, ids = to_world(scenario).network, [n.id for n in scenario.nodes]
    return np.array(
        [
            [[network.round_trip_s(a, b, m.request_kib, m.response_kib) for b in ids] for a in ids]
            for m in scenario.models
        ]
    )


def _row(
    scenario: Scenario, i: int, access: int, node: int, at_s: float, end_s: float, model: str, mean_s: float
) -> PromptRow:
    names = [n.id for n in scenario.nodes]
    ideal_s = mean_s / max(n.speed for n in scenario.nodes)
    deadline_s = scenario.model(model).deadline_s
    return PromptRow(
        f"p-{i}",
        model,
        names[access],
        names[node],
        at_s,
        at_s,
        end_s,
        PromptStatus.COMPLETED,
        None,
        1,
        deadline_s,
        ideal_s,
    )


def _others(scenario: Scenario, policy: str) -> dict[str, Any]:
    churn = 0.0 if "static" in policy else 4.0 * SLOWED[policy]
    return {
        "churn": churn, "activations": int(churn * 7), "drains": int(churn * 7),
        "energy_j_per_prompt": 900 * SLOWED[policy], "slots": int(scenario.duration_s / scenario.slot_s),
        "decisions": 0, "wall_s": 1.0, "peak_pss_mib": 1.0, "llm": {"calls": 0},
    }  # fmt: skip


def _replicas(scenario: Scenario, seed: int) -> FakeReplicas:
    """Two models on each node from early on; half-way one is taken down and another put up."""
    random, models, rows = np.random.default_rng(seed), len(scenario.models), []
    for n in range(len(scenario.nodes)):
        first, second, third = (int(m) for m in random.permutation(max(models, 3))[:3] % models)
        half = scenario.duration_s / 2 + 60 * n
        rows += [(5.0 + n, 1, n, first), (9.0 + n, 1, n, second), (half, 2, n, second), (half + 20, 1, n, third)]
    rows.sort()
    at_s, kind, node, model = (np.array(column) for column in zip(*rows, strict=True))
    return FakeReplicas(at_s.astype(float), kind, node, model)
