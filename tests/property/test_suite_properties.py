"""Whatever the prompts and the schedule: nothing beats the lower bound, and statistics stay in order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.twin.demand import Demand
from evals.scenario import NodeSlow, Scenario
from evals.suite.bounds import bound
from evals.suite.digest import presence
from evals.suite.stats import paired, summary
from tests.support.tiny_worlds import tiny_demand, tiny_model, tiny_scenario

seconds = st.integers(0, 40).map(lambda n: n / 4)
services = st.integers(1, 40).map(lambda n: n / 4)
speeds = st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0]), min_size=1, max_size=3)


@dataclass(frozen=True)
class World:
    scenario: Scenario
    demand: Demand


@st.composite
def worlds(draw: st.DrawFn, most: int = 6, shedding: bool = False, faster: bool = False) -> World:
    chosen = draw(speeds)
    size = draw(st.integers(1, most))
    at_s = sorted(draw(st.lists(seconds, min_size=size, max_size=size)))
    service_s = draw(st.lists(services, min_size=size, max_size=size))
    access = draw(st.lists(st.integers(0, len(chosen) - 1), min_size=size, max_size=size))
    models = [tiny_model("m-0", deadline_s=draw(services))]
    events = [NodeSlow(3.0, "node-slow", "n-0", draw(st.sampled_from([0.5, 2.0])))] if faster else []
    scenario = tiny_scenario(
        chosen, models=models, latency_ms=draw(st.sampled_from([0.0, 250.0])), shedding=shedding, events=events
    )
    return World(scenario, tiny_demand(at_s, service_s, access))


def node_speed(scenario: Scenario, node: int, at_s: float) -> float:
    first = scenario.nodes[node].speed
    changes = [e for e in scenario.events if isinstance(e, NodeSlow) and e.node == f"n-{node}" and e.at_s <= at_s]
    return first / changes[-1].factor if changes else first


def way_s(scenario: Scenario, a: int, b: int) -> float:
    return 0.0 if a == b else scenario.links.default.latency_ms / 1e3


def random_latencies(world: World, random: np.random.Generator, shed: set[int]) -> list[float]:
    """Prompts go to random nodes; in each quarter second a node divides itself at random among those it has."""
    d, scenario, quantum = world.demand, world.scenario, 0.25
    size, nodes = d.at_s.size, len(scenario.nodes)
    where = random.integers(0, nodes, size)
    left = d.service_s.copy()
    ready_s = [d.at_s[j] + way_s(scenario, int(d.access[j]), int(where[j])) for j in range(size)]
    done_s = [math.inf] * size
    step = 0
    while any(left[j] > 1e-12 and j not in shed for j in range(size)):
        now = step * quantum
        for n in range(nodes):
            here = [
                j for j in range(size) if where[j] == n and ready_s[j] <= now and left[j] > 1e-12 and j not in shed
            ]
            if not here:
                continue
            parts = random.dirichlet(np.full(len(here), 0.5))
            for j, part in zip(here, parts, strict=True):
                rate = part * node_speed(scenario, n, now)
                if rate * quantum >= left[j]:
                    done_s[j], left[j] = now + left[j] / rate, 0.0
                else:
                    left[j] -= rate * quantum
        step += 1
    back_s = [way_s(scenario, int(d.access[j]), int(where[j])) for j in range(size)]
    deadline_s = scenario.models[0].deadline_s
    return [deadline_s if j in shed else done_s[j] + back_s[j] - d.at_s[j] for j in range(size)]


@settings(deadline=None, max_examples=80)
@given(worlds(faster=True), st.integers(0, 2**32 - 1))
def test_no_random_schedule_beats_the_bound(world: World, seed: int) -> None:
    latencies = random_latencies(world, np.random.default_rng(seed), set())
    assert np.mean(latencies) >= bound(world.scenario, world.demand).mean_latency_s * (1 - 1e-9)


def best_of_all_lists(world: World, may_shed: bool) -> float:
    """Least mean latency of all schedules in which each node takes its prompts in some order, one at a time; each
    prompt may instead be shed."""
    d, scenario = world.demand, world.scenario
    size, nodes = d.at_s.size, len(scenario.nodes)
    best = math.inf
    for where in product(range(nodes + may_shed), repeat=size):
        for order in permutations(range(size)):
            free_s, total = [0.0] * nodes, 0.0
            for j in order:
                n = where[j]
                if n == nodes:
                    total += scenario.models[0].deadline_s
                    continue
                way = way_s(scenario, int(d.access[j]), n)
                free_s[n] = max(free_s[n], d.at_s[j] + way) + d.service_s[j] / scenario.nodes[n].speed
                total += free_s[n] + way - d.at_s[j]
            best = min(best, total)
    return best / size


@settings(deadline=None, max_examples=60)
@given(worlds(most=4))
def test_the_best_list_schedule_does_not_beat_the_bound(world: World) -> None:
    assert best_of_all_lists(world, False) >= bound(world.scenario, world.demand).mean_latency_s * (1 - 1e-9)


@settings(deadline=None, max_examples=60)
@given(worlds(most=4, shedding=True))
def test_nor_does_the_best_choice_of_what_to_shed(world: World) -> None:
    assert best_of_all_lists(world, True) >= bound(world.scenario, world.demand).mean_latency_s * (1 - 1e-9)


@settings(deadline=None, max_examples=60)
@given(worlds(shedding=True), st.integers(0, 2**32 - 1), st.sets(st.integers(0, 5)))
def test_nor_random_shedding(world: World, seed: int, shed: set[int]) -> None:
    latencies = random_latencies(world, np.random.default_rng(seed), shed)
    assert np.mean(latencies) >= bound(world.scenario, world.demand).mean_latency_s * (1 - 1e-9)


values = st.lists(st.one_of(st.none(), st.floats(0, 1e6)), min_size=1, max_size=12)


@settings(deadline=None, max_examples=80)
@given(values, st.sampled_from(["mean_latency_s", "jain", "p99_latency_s"]))
def test_a_mean_lies_in_its_interval_and_nothing_is_nan(seeds: list[float | None], metric: str) -> None:
    scaled = [v / 1e6 if v is not None and metric == "jain" else v for v in seeds]
    found = summary(scaled, metric)
    assert len(found["per_seed"]) == len(seeds)
    if found["ci95"] is not None:
        low, high = found["ci95"]
        assert math.isfinite(low)
        assert math.isfinite(high)
        assert low - 1e-9 * max(1, abs(low)) <= found["mean"] <= high + 1e-9 * max(1, abs(high))


ratios = st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), min_size=2, max_size=8)


@settings(deadline=None, max_examples=80)
@given(ratios)
def test_a_ratio_turned_round_is_its_inverse(pairs: list[tuple[float, float]]) -> None:
    a, b = [p[0] for p in pairs], [p[1] for p in pairs]
    there, back = paired(a, b), paired(b, a)
    assert math.isclose(there["ratio"] * back["ratio"], 1.0, rel_tol=1e-9)
    assert math.isclose(there["ci95"][0] * back["ci95"][1], 1.0, rel_tol=1e-6)


@dataclass(frozen=True)
class Came:
    arrived_s: np.ndarray
    finished_s: np.ndarray
    latency_s: np.ndarray
    model: np.ndarray


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(seconds, services), min_size=1, max_size=10))
def test_request_seconds_in_system_add_up_to_the_latencies(prompts: list[tuple[float, float]]) -> None:
    arrived = np.array([p[0] for p in prompts])
    latency = np.array([p[1] for p in prompts])
    came = Came(arrived, arrived + latency, latency, np.zeros(len(prompts), np.int64))
    edges = np.linspace(0.0, float((arrived + latency).max()), 7)
    assert math.isclose(float(np.diff(presence(came, edges)).sum()), float(latency.sum()), rel_tol=1e-9)
