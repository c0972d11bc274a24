"""The planner's benchmark runs and says what DESIGN wants of it; cells and the fluid fill do what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from edgewise.control.intake import merge, no_telemetry
from edgewise.domain.cluster import NodeSpec
from edgewise.domain.observation import ClusterFacts, NodeFact
from edgewise.optimise.cells import MOST, cell_of, cells_for, parts
from edgewise.optimise.fluid import gap, pack, pooled, repair, spread
from edgewise.optimise.problem import Prices, Problem, problem
from evals.bench_planner import bench
from evals.bench_twin import world
from evals.scenario_world import to_world


def empty(nodes: int, models: int) -> tuple[Problem, np.ndarray]:
    """A generated cluster without replicas, and rates that bring the same prompts of each model, to load 0.8."""
    w = to_world(world(nodes, models, 60.0))
    facts = ClusterFacts(0.0, tuple(NodeFact(n.id, True, n.memory_gib, 0.0) for n in w.nodes), ())
    p = problem(merge(w, facts, no_telemetry(0.0), at_s=0.0, slot=0, slot_s=30.0, epoch_slots=10), Prices())
    rates = np.full(models, 0.8 * p.speed.sum() / p.service.sum())
    return p, rates


def test_a_small_bench_has_the_keys() -> None:
    (row,) = bench(((7, 4),), slots=6)
    assert row["size"] == "7x4"
    assert row["name"] == "planner"
    assert 0 < row["decision_p50_ms"] <= row["decision_p95_ms"]
    assert row["gap_to_bound"] <= 0.01
    assert row["dispatch_us"] > 0


@pytest.mark.parametrize(("nodes", "models"), [(70, 10), (400, 30)])
def test_a_placement_from_nothing_reaches_the_fluid_bound(nodes: int, models: int) -> None:
    p, rates = empty(nodes, models)
    here = spread(p, pack(p, rates), rates)
    assert here.any(axis=0).all()
    assert ((here * p.need).sum(axis=1) <= p.memory + 1e-9).all()
    assert -1e-6 <= gap(p, here, rates) <= 0.01


def test_the_gap_is_that_of_the_busiest_node() -> None:
    p, rates = empty(7, 4)
    here = np.zeros((7, 4), dtype=bool)
    here[0] = True  # one node of speed 1 does all the work of a cluster of speed 6.7
    assert gap(p, here, rates) == pytest.approx(p.speed.sum() / p.speed[0] - 1)
    here[0, 0] = False
    assert gap(p, here, rates) == float("inf")
    assert pooled(p, rates) == pytest.approx(0.8)


def test_repair_follows_demand_within_its_budget() -> None:
    p, rates = empty(70, 10)
    here = spread(p, pack(p, rates), rates)
    turned = rates * np.where(np.arange(10) % 2, 1.6, 0.3)
    turned *= 0.8 / pooled(p, turned)
    fixed = np.zeros_like(here)
    for most in (4, 40):
        better = repair(p, here, turned, fixed, most)
        assert int((better != here).sum()) <= most
        assert better.any(axis=0).all()
        assert ((better * p.need).sum(axis=1) <= p.memory + 1e-9).all()
        assert gap(p, better, turned) <= gap(p, here, turned) + 1e-9


def test_cells_are_alike_and_a_node_stays_in_its_own() -> None:
    nodes = [NodeSpec(f"n{i}", 8.0 if i % 3 else 24.0, 1.0 if i % 3 else 2.5) for i in range(220)]
    cell = cell_of(nodes)
    assert cells_for(len(nodes)) == 5
    sizes = np.bincount(cell)
    assert sizes.max() <= MOST
    large = np.bincount(cell, [n.memory_gib > 8 for n in nodes])
    assert large.max() - large.min() <= 1
    assert (cell_of(nodes) == cell).all()
    assert parts(np.ones((220, 2)), cell, 5).sum(axis=0) == pytest.approx([1.0, 1.0])
