"""Several servers: Erlang's formulas, and nodes that share a machine.

Dispatch to the least work with sizes known is a central FIFO queue: each prompt starts at the server that is free
first, whichever queue it stands in (Harchol-Balter, Performance Modeling, ch. 24.4). So c equal replicas are M/M/c.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

import numpy as np
import pytest

from edgewise.policy.dispatch import LEAST_WORK, ROUND_ROBIN, SLOT_WEIGHTS
from edgewise.twin.arrays import SHED
from edgewise.twin.run import Twin
from tests.support.twin_world import (
    Floats,
    Kind,
    Unit,
    constant,
    demand_of,
    drawn,
    exponential,
    latencies,
    lognormal,
    physics_for,
    poisson_times,
    rules_for,
    to_the_end,
    twin_of,
)

MILLION = 1_000_000


def erlang_b(servers: int, offered: float) -> float:
    """Part of prompts that meet all servers busy and go; by the usual recursion."""
    lost = 1.0
    for n in range(1, servers + 1):
        lost = offered * lost / (n + offered * lost)
    return lost


def erlang_c_wait(servers: int, offered: float) -> tuple[float, float]:
    """(probability of a wait, mean wait) in M/M/c with mean service 1."""
    lost = erlang_b(servers, offered)
    waits = lost / (1 - offered / servers * (1 - lost))
    return waits, waits / (servers - offered)


def central_queue(at_s: Floats, service_s: Floats, servers: int) -> Floats:
    """Starts of prompts in a FIFO queue before c servers (Kiefer, Wolfowitz 1955)."""
    free = [0.0] * servers
    starts = np.empty(at_s.size)
    for i, (at, service) in enumerate(zip(at_s.tolist(), service_s.tolist(), strict=True)):
        start = max(at, free[0])
        starts[i] = start
        heapq.heapreplace(free, start + service)
    return starts


def fleet_run(
    speeds: Sequence[float], kind: Kind, offered: float, seed: int, *, unit: Unit = exponential,
    policy: int = LEAST_WORK, count: int = MILLION, hint_s: float | None = None, shedding: bool = False,
) -> Twin:  # fmt: skip
    rng = np.random.default_rng(seed)
    d = demand_of(poisson_times(offered, count, rng), drawn(unit, 1.0, count, rng), hint_s=hint_s)
    twin = twin_of(physics_for(speeds, [kind]), d, rules_for(policy, shedding=shedding))
    to_the_end(twin)
    return twin


def test_replicas_with_least_work_are_one_queue() -> None:
    servers, offered = 4, 2.4
    twin = fleet_run([1.0] * servers, Kind(), offered, 1)
    d, s = twin.demand, twin.state
    few = 100_000
    expected = central_queue(d.at_s[:few], d.service_s[:few], servers)
    # Ties of work to within rounding may go to another server, and start as soon.
    assert np.abs(s.started_s[:few] - expected).max() < 1e-6
    waits = s.started_s - d.at_s
    probability, mean_wait = erlang_c_wait(servers, offered)
    assert (waits > 1e-9).mean() == pytest.approx(probability, rel=0.01)
    assert latencies(twin).mean() == pytest.approx(1 + mean_wait, rel=0.01)


def test_one_engine_whose_speed_grows_with_its_prompts_is_mmc() -> None:
    # batch_curve 1, 2, 3: three prompts run at once, each as fast as alone.
    servers, offered = 3, 1.8
    twin = fleet_run([1.0], Kind(slots=servers, curve=(1.0, 2.0, 3.0)), offered, 2)
    probability, mean_wait = erlang_c_wait(servers, offered)
    waits = twin.state.started_s - twin.demand.at_s
    assert (waits > 1e-9).mean() == pytest.approx(probability, rel=0.01)
    assert latencies(twin).mean() == pytest.approx(1 + mean_wait, rel=0.01)


def test_a_batch_curve_that_flattens() -> None:
    # Birth and death with rates n → n + 1 at λ and n → n − 1 at the curve's speed: N in closed form.
    curve, load = (1.0, 1.6, 2.0), 1.5
    twin = fleet_run([1.0], Kind(slots=3, curve=curve), load, 3)
    weight, total, number = 1.0, 1.0, 0.0
    for n in range(1, 400):
        weight *= load / curve[min(n, 3) - 1]
        total, number = total + weight, number + n * weight
    assert latencies(twin).mean() == pytest.approx(number / total / load, rel=0.01)


@pytest.mark.parametrize(
    "unit", [exponential, constant, lognormal(2.0)], ids=["exponential", "deterministic", "lognormal cv 2"]
)
def test_busy_replicas_that_shed_are_erlang_b(unit: Unit) -> None:
    # A prompt there is believed to need 1 s more (size unknown), so a deadline of 1.5 s lets in what finds a free
    # replica and nothing else. Erlang's loss formula, which knows only the mean service.
    servers, offered = 5, 4.0
    kind = Kind(left_scv=1.0, deadline_s=1.5)
    twin = fleet_run([1.0] * servers, kind, offered, 4, unit=unit, hint_s=1.0, shedding=True)
    shed = twin.state.status == SHED
    assert shed.mean() == pytest.approx(erlang_b(servers, offered), rel=0.01)
    assert np.abs(latencies(twin)[~shed] - twin.demand.service_s[~shed]).max() < 1e-6


def test_a_uniform_draw_splits_poisson() -> None:
    # Each of two replicas is M/M/1 with half of the prompts.
    twin = fleet_run([1.0, 1.0], Kind(), 1.0, 5, policy=SLOT_WEIGHTS, count=2 * MILLION)
    assert latencies(twin).mean() == pytest.approx(1 / (1 - 0.5), rel=0.01)


def test_round_robin_halves_the_arrivals_of_each() -> None:
    # Every second prompt of a Poisson process: Erlang-2 gaps. GI/M/1: T = 1 / (1 − σ), σ = A*(1 − σ) with
    # A*(s) = (λ / (λ + s))², λ the rate of the whole process.
    rate, sigma = 1.2, 0.5
    for _ in range(200):
        sigma = (rate / (rate + 1 - sigma)) ** 2
    twin = fleet_run([1.0, 1.0], Kind(), rate, 6, policy=ROUND_ROBIN, count=2 * MILLION)
    assert latencies(twin).mean() == pytest.approx(1 / (1 - sigma), rel=0.01)


def test_nodes_that_share_one_core_are_one_server() -> None:
    # Two nodes on one core: whoever has work gets all of it, both get half. The sum is M/M/1 at rate 1.
    rng = np.random.default_rng(7)
    count, load = 2 * MILLION, 0.5
    d = demand_of(poisson_times(load, count, rng), rng.exponential(1.0, count))
    twin = twin_of(physics_for([1.0, 1.0], [Kind()], cores=1.0), d, rules_for(SLOT_WEIGHTS))
    to_the_end(twin)
    assert latencies(twin).mean() == pytest.approx(1 / (1 - load), rel=0.01)


def test_nodes_with_cores_to_spare_do_not_feel_each_other() -> None:
    d = demand_of([0.0, 0.0, 0.0], [2.0, 3.0, 4.0], access=[0, 1, 2])
    alone, beside = (twin_of(physics_for([1.0] * 3, [Kind()], cores=c), d) for c in (math.inf, 3.0))
    to_the_end(alone)
    to_the_end(beside)
    assert alone.state.finished_s.tolist() == beside.state.finished_s.tolist() == [2.0, 3.0, 4.0]
