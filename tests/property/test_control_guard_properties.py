"""The guard makes anything feasible, and changes nothing twice; diff and forecast keep their promises."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.control.diff import diff
from edgewise.control.forecast import Track, draws, follow, forecast
from edgewise.control.gate import judge
from edgewise.control.guard import project, violations
from edgewise.control.outlook import outlook
from edgewise.control.planning import schedule
from edgewise.control.state import Proposed
from edgewise.domain.cluster import NodeSpec, ReplicaState
from edgewise.domain.model import ModelSpec, Task
from edgewise.domain.observation import ClusterFacts, DemandFact, Observation, ReplicaFact, ReplicaLoad
from edgewise.domain.plan import ANY, ChangeKind, Plan, Route, Share
from edgewise.domain.world import World
from edgewise.optimise.problem import Prices, problem
from tests.support.control_world import observe, plan_of, short_settings

NODES = ("n1", "n2", "n3", "n4")
MODELS = ("a", "b", "c")
NEED = {"a": 1.0, "b": 2.5, "c": 4.0}
WILD = st.floats(allow_nan=True, allow_infinity=True)
Place = tuple[str, str]


@st.composite
def situations(draw: st.DrawFn) -> Observation:
    """A world in any state its memory allows, some nodes dead."""
    budgets = draw(st.tuples(*[st.sampled_from([1.0, 3.0, 4.5, 6.0])] * 4))
    models = tuple(ModelSpec(m, Task.TEXT_GENERATION, NEED[m], 0.5 + i, load_s=2.0) for i, m in enumerate(MODELS))
    world = World(tuple(NodeSpec(n, b) for n, b in zip(NODES, budgets, strict=True)), models)
    states: dict[Place, ReplicaState] = {}
    for node, budget in zip(NODES, budgets, strict=True):
        left = budget
        for model in draw(st.permutations(MODELS)):
            state = draw(st.sampled_from([None, *ReplicaState]))
            if state is not None and (not state.holds_memory or NEED[model] <= left):
                states[(node, model)] = state
                left -= NEED[model] if state.holds_memory else 0.0
    loads = [ReplicaLoad(n, m, draw(st.integers(0, 5)), 0, 1.0) for (n, m) in states]
    dead = draw(st.sets(st.sampled_from(NODES), max_size=3))
    since_s = draw(st.sampled_from([-1000.0, 98.0]))
    rows = [DemandFact("n1", m, draw(st.integers(0, 40)), 12.0) for m in MODELS]
    return observe(
        world, at_s=100.0, slot=9, states=states, dead=dead, since_s=since_s, loads=loads, demand_rows=rows
    )


@st.composite
def plans(draw: st.DrawFn, wild: bool = True) -> Plan:
    """Any plan, with names that do not exist and numbers that are none."""
    nodes = [*NODES, "ghost"] if wild else list(NODES)
    models = [*MODELS, "unknown"] if wild else list(MODELS)
    number = WILD if wild else st.floats(0.01, 10)
    places = draw(st.lists(st.tuples(st.sampled_from(nodes), st.sampled_from(models)), max_size=16))
    routes = draw(
        st.lists(
            st.builds(
                Route, st.sampled_from([ANY, "n1", "ghost"]), st.sampled_from(models), st.sampled_from(nodes), number
            ),
            max_size=12,
        )
    )
    shares = draw(st.lists(st.builds(Share, st.sampled_from(nodes), st.sampled_from(models), number), max_size=12))
    alpha = draw(st.none() | number)
    return plan_of(places, routes=tuple(routes), shares=tuple(shares), alpha=alpha)


@settings(max_examples=80, deadline=None)
@given(situations(), plans(), st.none() | plans(wild=False), st.integers(0, 8))
def test_any_plan_becomes_feasible(o: Observation, plan: Plan, incumbent: Plan | None, asked: int) -> None:
    s = short_settings()
    got = project(plan, o, incumbent, s, asked).plan
    assert violations(got, o, s) == ()
    alive = {n.id for n in o.alive}
    assert all(r.node in alive and r.model in MODELS for r in got.replicas)
    held = {(r.node, r.model) for r in o.cluster.replicas if r.state is ReplicaState.LOADING and r.node in alive}
    assert held <= {(r.node, r.model) for r in got.replicas}
    sums: Counter[tuple[str, str]] = Counter()
    for r in got.routes:
        assert math.isfinite(r.weight)
        assert r.weight > 0
        sums[(r.access_node, r.model)] += r.weight  # type: ignore[assignment]
    assert all(abs(x - 1) < 1e-5 for x in sums.values())
    assert {m for a, m in sums if a == ANY} == {r.model for r in got.replicas}
    for node in alive:
        mine = [x.share for x in got.shares if x.node == node]
        assert not mine or abs(sum(mine) - 1) < 1e-5


@settings(max_examples=80, deadline=None)
@given(situations(), plans(), st.none() | plans(wild=False), st.integers(0, 8))
def test_projecting_twice_changes_nothing_more(
    o: Observation, plan: Plan, incumbent: Plan | None, asked: int
) -> None:
    s = short_settings()
    once = project(plan, o, incumbent, s, asked).plan
    again = project(once, o, incumbent, s, asked).plan
    assert again.replicas == once.replicas
    for x, y in zip(again.routes, once.routes, strict=True):
        assert (x.access_node, x.model, x.node) == (y.access_node, y.model, y.node)
        assert abs(x.weight - y.weight) < 1e-9


@settings(max_examples=60, deadline=None)
@given(situations(), plans(wild=False))
def test_every_model_stands_somewhere_if_one_node_could_take_it(o: Observation, plan: Plan) -> None:
    """When nothing is pinned and each alive node could hold the whole catalogue, nobody is left out."""
    roomy = replace(
        o,
        node_specs=tuple(replace(n, memory_gib=10.0) for n in o.node_specs),
        cluster=replace(o.cluster, nodes=tuple(replace(n, memory_gib=10.0) for n in o.cluster.nodes)),
    )
    if roomy.alive:
        got = project(plan, roomy, None, short_settings()).plan
        assert {r.model for r in got.replicas} == set(MODELS)


@settings(max_examples=60, deadline=None)
@given(situations(), plans(wild=False), plans(wild=False), st.integers(0, 8))
def test_the_thrash_budget_holds_unless_a_kind_stood_nowhere(
    o: Observation, plan: Plan, before: Plan, asked: int
) -> None:
    s = short_settings(dwell_slots=0)
    calm = replace(o, cluster=replace(o.cluster, replicas=()), telemetry=replace(o.telemetry, loads=()))
    incumbent = project(before, calm, None, s).plan
    covered = {r.model for r in incumbent.replicas}
    got = project(plan, calm, incumbent, s, asked)
    if {r.model for r in got.plan.replicas} <= covered:
        assert got.asked <= max(0, s.max_changes_per_epoch - asked)
    assert got.asked == len(set(got.plan.replicas) ^ set(incumbent.replicas))


@settings(max_examples=80, deadline=None)
@given(situations(), plans(wild=False))
def test_the_changes_applied_to_the_fact_give_the_goal(o: Observation, plan: Plan) -> None:
    facts = o.cluster
    after = {(r.node, r.model) for r in _applied(plan, facts)}
    alive = {n.node for n in facts.nodes if n.alive}
    assert after == {(r.node, r.model) for r in plan.replicas if r.node in alive}
    done = replace(facts, replicas=tuple(ReplicaFact(n, m, ReplicaState.READY) for n, m in after))
    assert not diff(plan, done, plan)


def _applied(plan: Plan, facts: ClusterFacts) -> list[ReplicaFact]:
    alive = {n.node for n in facts.nodes if n.alive}
    held = {(r.node, r.model): r for r in facts.replicas if r.node in alive and r.state is not ReplicaState.ABSENT}
    changes = diff(plan, facts)
    for kind in (ChangeKind.DRAIN, ChangeKind.UNLOAD, ChangeKind.LOAD):
        for c in changes:
            place = (c.node, c.model)
            if c.kind is kind is ChangeKind.UNLOAD:
                del held[place]
            elif c.kind is kind is ChangeKind.LOAD:
                held[place] = ReplicaFact(*place, ReplicaState.READY)
    return list(held.values())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.floats(0.5, 50), min_size=6, max_size=6), min_size=1, max_size=5), st.floats(0, 0.5))
def test_the_gate_never_takes_what_is_predicted_worse(rows: list[list[float]], margin: float) -> None:
    pool = [Proposed("optimiser", plan_of([], f"p{i}")) for i in range(len(rows))]
    table = {f"p{i}": row for i, row in enumerate(rows)}
    ruling = judge(pool[0], pool[1:], lambda ps: np.array([table[p.id] for p in ps]), margin, lambda _: ())
    chosen = np.mean(table[ruling.chosen.plan.id])
    assert chosen <= np.mean(rows[0])
    assert ruling.verdict.accepted == (ruling.chosen.plan.id != "p0")
    if ruling.verdict.accepted:
        assert np.mean(rows[0]) - chosen > margin * max(0.1, np.mean(rows[0]) - 1)


@settings(max_examples=60, deadline=None)
@given(situations(), plans(wild=False))
def test_predictions_are_finite_for_any_feasible_plan(o: Observation, plan: Plan) -> None:
    s = short_settings()
    if not o.alive:
        return
    track = follow(Track(), o)
    ahead = outlook(o, track, s)
    feasible = schedule(project(plan, o, None, s).plan, ahead, o, s, "x")
    scores = ahead.evaluate(s, "y")([feasible, plan])
    assert np.isfinite(scores).all()
    assert (scores > 0).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 200), min_size=1, max_size=12), st.integers(0, 2**32 - 1))
def test_forecasts_are_positive_and_draws_have_their_mean(counts: list[int], seed: int) -> None:
    models = tuple(ModelSpec(m, Task.TEXT_GENERATION, 1.0, 0.5) for m in MODELS)
    world = World(tuple(NodeSpec(n, 6.0) for n in NODES), models)
    track = Track()
    for i, count in enumerate(counts):
        o = observe(world, at_s=4.0 * (i + 1), slot=i, demand_rows=[DemandFact("n1", "a", count, 12.0)])
        track = follow(track, o)
    f = forecast(track, problem(o, Prices()), 12.0)
    assert (f.mean > 0).all()
    assert np.isfinite(f.mean).all()
    lot = draws(f, np.random.default_rng(seed), 2000)
    assert np.isfinite(lot).all()
    assert (lot >= 0).all()
    total = lot.sum(axis=1).mean(axis=0)
    error = f.mean.sum(axis=0) / np.sqrt(f.shape * 2000)
    assert (np.abs(total - f.mean.sum(axis=0)) < 6 * error + 1e-9).all()
