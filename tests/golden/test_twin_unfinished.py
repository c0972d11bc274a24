"""Nobody leaves the mean early: at load 1.2 an estimator that looks at finished prompts only is far off."""

from __future__ import annotations

import numpy as np
import pytest

from edgewise.domain.measures import CODES
from edgewise.domain.model import Task
from edgewise.domain.records import PromptStatus
from evals.scenario import (
    Discipline,
    LoadTime,
    MeanService,
    ModelEntry,
    NodeEntry,
    Scenario,
    SyntheticEntry,
    WorkloadEntry,
)
from evals.simulate import Simulated, simulate
from tests.support.twin_world import Kind, demand_of, latencies, physics_for, poisson_times, to_the_end, twin_of

DURATION_S = 7200.0


def overloaded(service: Discipline, *, shedding: bool = False, deadline_s: float = 60.0) -> Simulated:
    model = ModelEntry(
        "m", Task.TEXT_GENERATION, 1.0, LoadTime(1.0), MeanService(1.0, 2.0), deadline_s=deadline_s, service=service
    )
    scenario = Scenario(
        name="overload",
        nodes=(NodeEntry("n", 8.0),),
        models=(model,),
        workload=WorkloadEntry(synthetic=(SyntheticEntry("m", 1.2),)),
        duration_s=DURATION_S,
        shedding=shedding,
        initial={"n": ("m",)},
    )
    return simulate(scenario, "round-robin", 3)


def finished_only(found: Simulated) -> float:
    """What a dashboard shows when arrivals stop: the mean of what has ended by then."""
    p = found.prompts
    ended = p.finished_s <= DURATION_S
    return float((p.finished_s - p.arrived_s)[ended].mean())


def everybody(found: Simulated) -> float:
    p = found.prompts
    return float((p.finished_s - p.arrived_s).mean())


def test_arrivals_stop_and_the_run_empties() -> None:
    found = overloaded("fifo")
    assert found.figures["prompts_completed"] == found.figures["prompts_accepted"] == len(found.prompts.arrived_s)
    assert found.prompts.arrived_s.max() < DURATION_S
    # The fluid limit: the node needs ρ·D seconds for what comes in D.
    work_s = found.prompts.service_s.sum()
    assert found.end_s == pytest.approx(max(DURATION_S, work_s), rel=0.02)
    assert found.figures["mean_latency_s"] == pytest.approx(everybody(found))


def test_finished_prompts_flatter_a_queue() -> None:
    # In the fluid limit the k-th prompt waits (ρ − 1)/ρ·k/μ; those that end in time are the first 1/ρ of all.
    found = overloaded("fifo")
    load = float(found.prompts.service_s.sum()) / DURATION_S
    assert found.figures["mean_latency_s"] / finished_only(found) == pytest.approx(load, rel=0.1)
    assert found.figures["mean_latency_s"] > 1.1 * finished_only(found)


def test_finished_prompts_flatter_processor_sharing_more() -> None:
    # What is left over is long, and has waited long.
    found = overloaded("ps")
    assert found.figures["mean_latency_s"] > 1.3 * finished_only(found)


def test_shed_prompts_count_with_their_deadline() -> None:
    found = overloaded("fifo", shedding=True, deadline_s=20.0)
    p, figures = found.prompts, found.figures
    shed = p.status == CODES[PromptStatus.SHED]
    assert figures["prompts_shed"] == shed.sum() > 0.1 * len(shed)
    answered_s = (p.finished_s - p.arrived_s)[~shed]
    assert figures["mean_latency_s"] == pytest.approx((20.0 * shed.sum() + answered_s.sum()) / len(shed))
    # A refusal is no quick answer.
    assert figures["mean_latency_s"] > 1.3 * everybody(found)
    assert figures["service_ratio"] <= 1 - shed.mean()


def test_prompts_that_starve_count() -> None:
    # Short prompts (load 0.8) pass long ones (load 0.4) at 50 : 1, and many of the long ones end after arrivals stop.
    rng = np.random.default_rng(1)
    short_s, long_s = poisson_times(4.0, 28_800, rng), poisson_times(0.02, 144, rng)
    at_s = np.concatenate((short_s, long_s))
    order, model = np.argsort(at_s), np.repeat([0, 1], [short_s.size, long_s.size])
    d = demand_of(at_s[order], np.array([0.2, 20.0])[model][order], model=model[order])
    twin = twin_of(physics_for([1.0], [Kind(), Kind()]), d, share=[50.0, 1.0])
    to_the_end(twin)
    in_time = twin.state.finished_s <= DURATION_S
    assert in_time[d.model == 0].mean() > 0.99 > 0.7 > in_time[d.model == 1].mean()
    assert latencies(twin).mean() > 1.5 * latencies(twin)[in_time].mean()
