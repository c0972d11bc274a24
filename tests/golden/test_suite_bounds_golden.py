"""The lower bound on worlds whose best schedule is found by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad

from evals.scenario import NodeDown, NodeSlow, NodeUp
from evals.suite.bounds import bound
from tests.support.tiny_worlds import tiny_demand, tiny_model, tiny_scenario


def test_one_prompt_takes_its_service() -> None:
    assert bound(tiny_scenario((2.0,)), tiny_demand([5.0], [3.0])).mean_latency_s == pytest.approx(1.5)


def test_one_server_is_as_good_as_shortest_remaining_first() -> None:
    # 1 s and 3 s at once: done at 1 and 4. The bound is what the best policy reaches.
    assert bound(tiny_scenario(), tiny_demand([0.0, 0.0], [3.0, 1.0])).mean_latency_s == pytest.approx(2.5)
    # A short prompt comes while a long one runs, and interrupts it: done at 1 + 1 and 5.
    found = bound(tiny_scenario(), tiny_demand([0.0, 1.0], [4.0, 1.0]))
    assert found.pooled_s == pytest.approx((5 + 1) / 2)


def test_two_servers_cannot_work_together_on_one_prompt() -> None:
    # The pooled machine alone would say (1 + 2) / 2; mean busy times know that a prompt runs on one node.
    found = bound(tiny_scenario((1.0, 1.0)), tiny_demand([0.0, 0.0], [2.0, 2.0]))
    assert found.pooled_s == pytest.approx(1.5)
    assert found.mean_latency_s == pytest.approx(2.0)


def test_mean_busy_times_are_tight_for_two_rounds_on_two_servers() -> None:
    # Done at 2, 2, 4, 4. Mean busy times on a machine of speed 2: 0.5, 1.5, 2.5, 3.5; and half a service each.
    found = bound(tiny_scenario((1.0, 1.0)), tiny_demand([0.0] * 4, [2.0] * 4))
    assert found.mean_latency_s == pytest.approx(3.0)


def test_the_network_is_paid_where_another_node_is_faster() -> None:
    scenario = tiny_scenario((1.0, 4.0), latency_ms=100.0)
    # 2 s here, or 0.1 + 0.5 + 0.1 s there.
    assert bound(scenario, tiny_demand([0.0], [2.0])).mean_latency_s == pytest.approx(0.7, abs=1e-6)
    assert bound(scenario, tiny_demand([0.0], [0.1])).mean_latency_s == pytest.approx(0.1, abs=1e-6)


def test_a_model_runs_only_where_it_fits() -> None:
    scenario = tiny_scenario((4.0, 1.0), models=[tiny_model("big", memory_gib=6)], memory_gib=[2, 8])
    assert bound(scenario, tiny_demand([0.0], [2.0])).mean_latency_s == pytest.approx(2.0)


def test_a_node_that_is_down_works_for_nobody() -> None:
    events = [NodeDown(1.0, "node-down", "n-0"), NodeUp(3.0, "node-up", "n-0")]
    # Half of the work before, half after: not before 4, though a real node would begin anew and end at 5.
    assert bound(tiny_scenario(events=events), tiny_demand([0.0], [2.0])).pooled_s == pytest.approx(4.0)


def test_a_node_that_gets_faster_counts_at_its_best() -> None:
    events = [NodeSlow(10.0, "node-slow", "n-0", 0.5)]
    assert bound(tiny_scenario(events=events), tiny_demand([0.0], [2.0])).alone_s == pytest.approx(1.0)


def test_an_engine_that_batches_gets_its_gain() -> None:
    model = replace(tiny_model("m-0"), max_concurrency=2, batch_curve=(1.0, 1.6))
    # Two prompts of 2 s: 4 s of work at 1.6 of it per second, both done at 2.5; the bound must not be above.
    found = bound(tiny_scenario(models=[model]), tiny_demand([0.0, 0.0], [2.0, 2.0]))
    assert 2.0 <= found.mean_latency_s <= 2.5


def test_a_prompt_that_may_be_shed_costs_no_more_than_its_deadline() -> None:
    scenario = tiny_scenario(models=[tiny_model("m-0", deadline_s=3.0)], shedding=True)
    assert bound(scenario, tiny_demand([0.0], [10.0])).mean_latency_s == pytest.approx(3.0)
    assert bound(scenario, tiny_demand([0.0], [1.0])).mean_latency_s == pytest.approx(1.0)


def test_under_shedding_a_queue_still_costs() -> None:
    # Ten prompts of 1 s at once, each may be shed for 4 s. Best: four are served (1, 2, 3, 4 s), six count 4 s.
    scenario = tiny_scenario(models=[tiny_model("m-0", deadline_s=4.0)], shedding=True)
    found = bound(scenario, tiny_demand([0.0] * 10, [1.0] * 10)).mean_latency_s
    assert 2.5 < found <= 3.4


def test_without_prompts_the_bound_is_zero() -> None:
    assert bound(tiny_scenario(), tiny_demand([], [])).mean_latency_s == 0.0


def test_prompts_without_work_cost_their_network_only() -> None:
    found = bound(tiny_scenario(), tiny_demand([0.0, 0.0], [0.0, 2.0]))
    assert found.mean_latency_s == pytest.approx(1.0)


def srpt_mean_s(load: float) -> float:
    """Mean response of M/M/1 under shortest remaining processing time, mean service 1 s (Schrage, Miller 1966)."""

    def busy(x: float) -> float:  # load of the prompts no longer than x
        return load * (1 - math.exp(-x) * (1 + x))

    def response(x: float) -> float:
        second = 2 - math.exp(-x) * (x * x + 2 * x + 2) + x * x * math.exp(-x)
        waits = load * second / (2 * (1 - busy(x)) ** 2)
        return waits + quad(lambda t: 1 / (1 - busy(t)), 0, x)[0]

    return float(quad(lambda x: response(x) * math.exp(-x), 0, 40, limit=200)[0])


def test_on_one_server_the_pooled_part_is_the_known_mean_of_srpt() -> None:
    random, load = np.random.default_rng(5), 0.8
    at_s, service_s = np.cumsum(random.exponential(1 / load, 200_000)), random.exponential(1.0, 200_000)
    found = bound(tiny_scenario(), tiny_demand(at_s.tolist(), service_s.tolist()))
    assert found.pooled_s == pytest.approx(srpt_mean_s(load), rel=0.03)
