"""The estimate, water-filling and placement in worlds small enough to solve by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgewise.domain.cluster import Link, LinkPair, Network, NodeSpec, ReplicaState
from edgewise.domain.model import ModelSpec, Task
from edgewise.domain.observation import ReplicaLoad
from edgewise.domain.plan import ANY, Route, Share
from edgewise.domain.world import World
from edgewise.optimise.estimate import encode, estimate, evaluator, latencies, scorer
from edgewise.optimise.placement import Limits, cover, fill_memory, search
from edgewise.optimise.problem import Prices, Problem, problem
from edgewise.optimise.weights import fill, make_plan, node_shares, placed, route_weights
from edgewise.settings import load_settings
from tests.support.control_world import observe, plan_of

READY = ReplicaState.READY
LONG = load_settings(slot_s=1000.0, epoch_slots=100)  # a horizon in which queues are stationary


def spec(name: str, service_s: float, memory_gib: float = 1.0, cv: float = 1.0, load_s: float = 10.0) -> ModelSpec:
    return ModelSpec(name, Task.TEXT_GENERATION, memory_gib, service_s, service_cv=cv, load_s=load_s, deadline_s=50)


def world(nodes: int, *models: ModelSpec, memory_gib: float = 8.0, cores: float | None = None) -> World:
    return World(tuple(NodeSpec(f"n{i}", memory_gib) for i in range(nodes)), models, Network(Link(0, 1e9)), cores)


def stated(w: World, places: list[tuple[str, str]], **more: object) -> Problem:
    o = observe(w, states=dict.fromkeys(places, READY), settings=LONG, **more)  # type: ignore[arg-type]
    return problem(o, Prices(alpha=0.0, beta=0.0))


def draw(p: Problem, *rates: float) -> np.ndarray:
    """One draw: rates per model, spread evenly over the access nodes."""
    return np.tile(np.array(rates) / len(p.access), (1, len(p.access), 1))


def test_one_mm1_queue_has_the_textbook_mean() -> None:
    w = world(1, spec("a", 2.0))
    p = stated(w, [("n0", "a")])
    plan = plan_of([("n0", "a")])
    for load in (0.1, 0.5, 0.8):
        latency = latencies(p, encode(p, [plan]), draw(p, load / 2.0))[0, 0, 0]
        assert latency == pytest.approx(2.0 / (1 - load), rel=0.01)


def test_deterministic_service_halves_the_wait() -> None:
    w = world(1, spec("a", 1.0, cv=0.0))
    p = stated(w, [("n0", "a")])
    latency = latencies(p, encode(p, [plan_of([("n0", "a")])]), draw(p, 0.5))[0, 0, 0]
    assert latency == pytest.approx(1.0 + 0.5, rel=0.01)  # M/D/1: ρS/2(1−ρ)


def test_two_equal_kinds_on_one_node_share_like_processor_sharing() -> None:
    w = world(1, spec("a", 1.0), spec("b", 1.0))
    p = stated(w, [("n0", "a"), ("n0", "b")])
    latency = latencies(p, encode(p, [plan_of([("n0", "a"), ("n0", "b")])]), draw(p, 0.4, 0.4))[0, 0]
    assert latency == pytest.approx([5.0, 5.0], rel=0.02)  # M/M/1-PS at load 0.8: S/(1−ρ)


def test_overload_grows_with_the_horizon_and_stays_finite() -> None:
    w = world(1, spec("a", 1.0))
    p = stated(w, [("n0", "a")])
    latency = latencies(p, encode(p, [plan_of([("n0", "a")])]), draw(p, 1.5))[0, 0, 0]
    assert latency == pytest.approx(0.5 * p.horizon / 2, rel=0.02)  # fluid: (ρ−1)·H/2


def test_estimate_rises_smoothly_through_saturation() -> None:
    w = world(1, spec("a", 1.0))
    p = problem(observe(w, states={("n0", "a"): READY}, settings=load_settings()), Prices())
    coded = encode(p, [plan_of([("n0", "a")])])
    loads = np.linspace(0.01, 2.0, 400)
    curve = np.array([latencies(p, coded, draw(p, x))[0, 0, 0] for x in loads])
    assert np.isfinite(curve).all()
    steps = np.diff(curve)
    assert (steps > 0).all()
    assert (np.abs(np.diff(steps)) < 0.2 * steps.max() + 1e-9).all()  # no jump anywhere


def test_a_queue_that_stands_there_adds_its_mean_drain() -> None:
    w = world(1, spec("a", 1.0))
    idle = stated(w, [("n0", "a")])
    loads = (ReplicaLoad("n0", "a", 100, 1, 1000.0),)
    busy = stated(w, [("n0", "a")], loads=loads)
    plan = plan_of([("n0", "a")])
    rates = draw(idle, 0.5)
    extra = latencies(busy, encode(busy, [plan]), rates) - latencies(idle, encode(idle, [plan]), rates)
    assert extra[0, 0, 0] == pytest.approx(1000.0**2 / (2 * 0.5 * busy.horizon), rel=1e-6)


def test_network_is_paid_by_those_who_enter_elsewhere() -> None:
    models = (spec("a", 1.0),)
    nodes = (NodeSpec("n0", 8.0), NodeSpec("n1", 8.0))
    w = World(nodes, models, Network(Link(0, 1e9), (LinkPair("n0", "n1", Link(250, 1e9)),)))
    p = stated(w, [("n0", "a")])
    latency = latencies(p, encode(p, [plan_of([("n0", "a")])]), draw(p, 1e-6))[0, 0, 0]
    assert latency == pytest.approx(1.0 + 0.5 / 2, rel=1e-3)


def test_routes_of_an_access_node_override_those_for_all() -> None:
    w = world(2, spec("a", 1.0))
    p = stated(w, [("n0", "a"), ("n1", "a")])
    routes = (Route(ANY, "a", "n0", 1.0), Route("n1", "a", "n1", 1.0))
    weight = encode(p, [plan_of([("n0", "a"), ("n1", "a")], routes=routes)]).weight[0]
    assert weight[:, 0].tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_a_kind_that_stands_nowhere_waits_the_horizon_and_its_deadline() -> None:
    w = world(1, spec("a", 1.0))
    p = stated(w, [])
    latency = latencies(p, encode(p, [plan_of([])]), draw(p, 0.1))[0, 0, 0]
    assert latency == pytest.approx(1.0 + p.horizon + 50.0)


def test_prompts_wait_for_a_load_when_nothing_else_is_ready() -> None:
    w = world(1, spec("a", 1.0, load_s=100.0))
    plan = plan_of([("n0", "a")])
    cold, warm = stated(w, []), stated(w, [("n0", "a")])
    rates = draw(cold, 1e-9)
    wait = latencies(cold, encode(cold, [plan]), rates) - latencies(warm, encode(warm, [plan]), rates)
    assert wait[0, 0, 0] == pytest.approx(100.0**2 / (2 * cold.horizon), rel=1e-3)


def test_cores_of_the_host_bound_what_all_nodes_do_together() -> None:
    w = world(4, spec("a", 1.0), cores=2.0)
    places = [(f"n{i}", "a") for i in range(4)]
    p = stated(w, places)
    free = stated(world(4, spec("a", 1.0)), places)
    plan = plan_of(places)
    at = draw(p, 3.0)  # 3 s of work a second: 4 nodes could, 2 cores cannot
    shared, own = (latencies(x, encode(x, [plan]), at)[0, 0, 0] for x in (p, free))
    assert own < 5
    assert shared > p.horizon / 10


def test_churn_costs_its_price_per_node_hour() -> None:
    w = world(2, spec("a", 1.0))
    o = observe(w, states={("n0", "a"): READY}, settings=LONG)
    dear = problem(o, Prices(alpha=0, beta=1.0, churn_s=3600))
    free = problem(o, Prices(alpha=0, beta=0.0))
    plan = plan_of([("n0", "a"), ("n1", "a")])
    at = draw(dear, 0.1)
    assert float((estimate(dear, [plan], at) - estimate(free, [plan], at))[0, 0]) == pytest.approx(1 / 2)


def test_fairness_enters_as_jain_on_inverse_slowdowns() -> None:
    w = world(2, spec("a", 1.0), spec("b", 1.0))
    o = observe(w, states={("n0", "a"): READY, ("n1", "b"): READY}, settings=LONG)
    plan = plan_of([("n0", "a"), ("n1", "b")])
    plain, fair = (problem(o, Prices(alpha=x, beta=0.0)) for x in (0.0, 1.0))
    at = draw(plain, 0.75, 1e-3)  # a is slowed 4 times, b hardly
    ratio = float(estimate(fair, [plan], at)[0, 0] / estimate(plain, [plan], at)[0, 0])
    x = np.array([0.25, 1.0])
    jain = x.sum() ** 2 / (2 * (x**2).sum())
    assert ratio == pytest.approx(1 + (1 - (jain - 0.5) / 0.5), rel=0.01)


def test_water_filling_levels_what_it_can() -> None:
    put = fill(np.array([0.0, 0.5, 2.0]), np.array([1.0, 1.0, 1.0]), 1.0)
    assert put == pytest.approx([0.75, 0.25, 0.0])
    put = fill(np.array([0.0, 0.0]), np.array([1.0, 3.0]), 2.0)
    assert put == pytest.approx([0.5, 1.5])


def test_weights_follow_speed_and_what_stands_beside() -> None:
    w = world(2, spec("a", 1.0), spec("b", 1.0))
    p = stated(w, [])
    placement = np.array([[True, True], [True, False]])
    weights = route_weights(p, placement, np.array([0.6, 0.2]))
    # b can only be on n0: levelling puts 0.4 on each node, a gets 0.2 there and 0.4 on n1.
    assert weights[:, 0] == pytest.approx([1 / 3, 2 / 3], abs=1e-6)
    assert weights[:, 1] == pytest.approx([1.0, 0.0])


def test_shares_go_by_inverse_size() -> None:
    w = world(1, spec("a", 1.0), spec("b", 4.0))
    p = stated(w, [])
    shares = node_shares(p, np.array([[True, True]]), 1.0)
    assert shares[0] == pytest.approx([0.8, 0.2])


def best(w: World, rates: list[float], held: list[tuple[str, str]], most: int | None = None, beta: float = 0.0):  # type: ignore[no-untyped-def]
    o = observe(w, states=dict.fromkeys(held, READY), settings=load_settings(slot_s=30.0))
    p = problem(o, Prices(alpha=1.0, beta=beta))
    at = draw(p, *rates)

    limits = Limits(p.held, p.fixed, most)
    score = scorer(p, at, np.array(rates))
    start = fill_memory(p, cover(p, p.held), limits, score)
    return p, search(p, start.placement, limits, score, 30, np.random.default_rng(0))


def test_placements_score_as_the_plans_made_of_them() -> None:
    w = world(3, spec("a", 1.0), spec("b", 2.0), spec("c", 4.0, load_s=40.0), memory_gib=3.0, cores=2.5)
    loads = (ReplicaLoad("n0", "a", 5, 1, 9.0), ReplicaLoad("n1", "b", 2, 1, 4.0))
    o = observe(w, states={("n0", "a"): READY, ("n1", "b"): READY}, settings=load_settings(), loads=loads)
    p = problem(o, Prices(alpha=1.0, beta=0.02, gamma=0.1))
    rates = np.array([0.4, 0.2, 0.05])
    at = np.concatenate([draw(p, *rates), draw(p, *(rates * 1.5)), draw(p, *(rates * 8))])
    rng = np.random.default_rng(0)
    here = [rng.random((3, 3)) < 0.6 for _ in range(20)]
    plans = [make_plan(p, h, rates, 1.0, "x", (0, 1)) for h in here]
    assert scorer(p, at, rates)(here) == pytest.approx(evaluator(p, at)(plans).mean(axis=1), rel=1e-3)


def test_three_places_go_to_the_kind_with_the_demand() -> None:
    w = world(4, spec("a", 1.0), spec("b", 1.0), memory_gib=1.0)
    _, found = best(w, [2.0, 0.2], [])
    assert found.placement.sum(axis=0).tolist() == [3, 1]


def test_demand_that_moves_takes_replicas_with_it() -> None:
    w = world(4, spec("a", 1.0), spec("b", 1.0), memory_gib=1.0)
    held = [("n0", "a"), ("n1", "a"), ("n2", "a"), ("n3", "b")]
    p, found = best(w, [0.2, 2.0], held, most=4, beta=0.02)
    assert found.placement.sum(axis=0).tolist() == [1, 3]
    assert int((found.placement != p.held).sum()) == 4
    _, bounded = best(w, [0.2, 2.0], held, most=2, beta=0.02)
    assert bounded.placement.sum(axis=0).tolist() == [2, 2]


def test_spare_memory_is_used_when_it_helps() -> None:
    w = world(3, spec("a", 1.0), memory_gib=1.0)
    _, found = best(w, [1.5], [("n0", "a")])
    assert found.placement.all()


def test_a_dead_weight_is_not_moved() -> None:
    w = world(2, spec("a", 1.0), spec("b", 1.0), memory_gib=1.0)
    held = [("n0", "a"), ("n1", "b")]
    p, found = best(w, [0.3, 0.3], held, beta=0.02)
    assert (found.placement == p.held).all()


def test_plans_and_arrays_say_the_same() -> None:
    w = world(2, spec("a", 1.0), spec("b", 2.0))
    p = stated(w, [])
    placement = np.array([[True, True], [False, True]])
    plan = make_plan(p, placement, np.array([0.1, 0.2]), 1.0, "x", (0, 1))
    assert (placed(p, plan) == placement).all()
    assert sum(r.weight for r in plan.routes if r.model == "b") == pytest.approx(1.0, abs=1e-5)
    assert sum(s.share for s in plan.shares if s.node == "n0") == pytest.approx(1.0, abs=1e-5)
    assert Share("n1", "b", 1.0) in plan.shares
