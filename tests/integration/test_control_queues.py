"""Decisions judged by what they do to prompts, in a queueing cluster that shares no formula with the estimate."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from edgewise.domain.cluster import NodeSpec
from edgewise.domain.decision import Decision
from edgewise.domain.world import World
from tests.support.control_world import LARGE_HEAVY, MODELS, SD_HEAVY, rates, seven, short_settings
from tests.support.queue_world import QueueWorld

BUDGETS = (6.0, 6.0, 8.0, 6.0, 6.0, 6.0, 5.0)
SERVICE_S = (0.04, 0.22, 0.07, 0.125)
LEVEL = {m.id: 0.25 for m in MODELS}


def small_nodes() -> World:
    """Seven nodes of a quarter core each."""
    models = tuple(replace(m, mean_service_s=s) for m, s in zip(MODELS, SERVICE_S, strict=True))
    nodes = tuple(NodeSpec(f"edge-{i + 1}", b, 0.243) for i, b in enumerate(BUDGETS))
    return replace(seven(host_cores=None, models=models), nodes=nodes)


def run(before: dict[str, float], after: dict[str, float], load: float, plans: bool, seed: int = 1) -> QueueWorld:
    world, slots = small_nodes(), 36
    settings = short_settings()
    first, then = rates(world, before, load), rates(world, after, load)
    shift_s = slots / 2 * settings.slot_s
    queues = QueueWorld(world, settings, lambda t: first if t < shift_s else then, seed=seed)
    queues.run(slots, plans)
    return queues


def moves(decisions: list[Decision]) -> int:
    plans = [set(d.plan.replicas) for d in decisions]
    return sum(len(a ^ b) for a, b in pairwise(plans))


def test_planning_pays_when_demand_shifts() -> None:
    fixed, planned = (run(SD_HEAVY, LARGE_HEAVY, 0.7, plans) for plans in (False, True))
    assert planned.objective() < 0.7 * fixed.objective()
    assert planned.drains > 0


@pytest.mark.parametrize("seed", [1, 2])
def test_planning_costs_next_to_nothing_when_it_does_not(seed: int) -> None:
    fixed, planned = (run(LEVEL, LEVEL, 0.5, plans, seed) for plans in (False, True))
    assert planned.objective() < 1.1 * fixed.objective()
    assert moves(planned.decisions) <= 12


def test_every_prompt_is_served_in_the_end_whatever_moves() -> None:
    queues = run(SD_HEAVY, LARGE_HEAVY, 0.5, True)
    queues.rate = lambda t: {}
    for _ in range(20 * 60):
        queues._step()
        queues._reconcile()
    assert all(p.finished_s is not None for p in queues.prompts)
