"""Every baseline, on scenarios in which nodes fail and memory forces choices: nobody is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgewise.domain.model import Task
from evals.policies import policy_of
from evals.scenario import (
    Event,
    LinkEntry,
    Links,
    LoadTime,
    MeanService,
    ModelEntry,
    NodeDown,
    NodeEntry,
    NodeSlow,
    NodeUp,
    Scenario,
    SyntheticEntry,
    TelemetryStale,
    WorkloadEntry,
)
from evals.setting import setting
from evals.simulate import run_policy

BASELINES = ("random-static", "random", "local-lru", "round-robin", "lew-lru", "dpp", "marginal")
FEW = settings(deadline=None, max_examples=12, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def scenario(seed: int) -> Scenario:
    """Three or four nodes, as many models; two nodes at most are away at a time, and come back."""
    rng = np.random.default_rng(seed)
    nodes = [
        NodeEntry(f"n-{i}", float(rng.uniform(2.0, 5.0)), float(rng.uniform(0.5, 2.0)))
        for i in range(rng.integers(3, 5))
    ]
    models = [
        ModelEntry(
            f"m-{i}", Task.TEXT_GENERATION, float(rng.uniform(0.5, 2.0)), LoadTime(float(rng.uniform(1, 20))),
            MeanService(float(rng.uniform(0.5, 3.0)), float(rng.uniform(0, 2))),
            max_concurrency=int(rng.integers(1, 4)),
        )
        for i in range(len(nodes))
    ]  # fmt: skip
    events: list[Event] = []
    for node in nodes[: int(rng.integers(0, 3))]:
        down, up = np.sort(rng.uniform(0, 500, 2)).tolist()
        events += [NodeDown(down, "node-down", node.id), NodeUp(up, "node-up", node.id)]
    events.append(NodeSlow(float(rng.uniform(0, 500)), "node-slow", nodes[-1].id, 3.0))
    events.append(TelemetryStale(float(rng.uniform(0, 500)), "telemetry-stale", 100.0))
    return Scenario(
        name="chance",
        nodes=tuple(nodes),
        models=tuple(models),
        workload=WorkloadEntry(synthetic=tuple(SyntheticEntry(m.id, 1.0) for m in models), target_load=0.7),
        duration_s=600.0,
        slot_s=20.0,
        epoch_slots=5,
        links=Links(LinkEntry(latency_ms=50.0), contention=bool(rng.random() < 0.5)),
        events=tuple(sorted(events, key=lambda e: e.at_s)),
    )


@pytest.mark.parametrize("name", BASELINES)
@FEW
@given(st.integers(0, 10**6))
def test_no_baseline_loses_a_prompt(name: str, seed: int) -> None:
    where = setting(scenario(seed), seed)
    found = run_policy(where, name, policy_of(name).knobs[0])
    figures = found.figures
    assert figures["prompts_lost"] == 0
    assert figures["prompts_completed"] == figures["prompts_accepted"] == len(where.arrivals.demand.at_s)
    assert found.end_s < 20 * where.scenario.duration_s


@FEW
@given(st.integers(0, 10**6))
def test_policies_meet_the_same_prompts(seed: int) -> None:
    first, second = (
        run_policy(setting(scenario(seed), seed), name, 1.0).prompts for name in ("round-robin", "marginal")
    )
    for name in ("arrived_s", "service_s", "model", "access"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
