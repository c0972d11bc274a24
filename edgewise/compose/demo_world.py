"""The demo's world: nodes, catalogue, settings; and the scenario that describes it for other tools."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edgewise.compose.options import DemoOptions
from edgewise.domain.cluster import Link, Network, NodeSpec
from edgewise.domain.model import ModelSpec, PromptSize
from edgewise.domain.world import World
from evals.bundle import Workload
from evals.replayer import WorkloadRow
from evals.scenario import Scenario
from evals.scenario_world import from_world, workload_entry

# Watts of a small edge server with one accelerator; only the difference between nodes and policies means anything.
IDLE_W, BUSY_W = 15.0, 65.0


def host_cores() -> float:
    """Cores this process may use."""
    return float(len(os.sched_getaffinity(0)))


def make_world(options: DemoOptions, models: tuple[ModelSpec, ...], cores: float) -> World:
    nodes = tuple(
        NodeSpec(f"edge-{i + 1}", options.budget_gib(i), speed=1.0, idle_w=IDLE_W, busy_w=BUSY_W)
        for i in range(options.nodes)
    )
    loopback = Network(Link(latency_ms=0.0, bandwidth_mbps=10_000.0))
    return World(nodes, models, loopback, host_cores=cores)


def with_means(models: Sequence[ModelSpec], rows: Sequence[WorkloadRow]) -> tuple[ModelSpec, ...]:
    """The catalogue with each model's mean expected service over the prompts that will be sent, seconds."""
    sizes: dict[str, list[PromptSize]] = {}
    for row in rows:
        sizes.setdefault(row.model, []).append(row.request.size)
    means = {
        m.id: sum(m.expected_service_s(s) for s in sizes[m.id]) / len(sizes[m.id]) for m in models if m.id in sizes
    }
    return tuple(replace(m, mean_service_s=means.get(m.id, m.mean_service_s)) for m in models)


def settings_overrides(options: DemoOptions) -> dict[str, Any]:
    """Settings that make sense when a slot is seconds, not half a minute."""
    return {
        "slot_s": options.slot_s,
        "epoch_slots": options.epoch_slots,
        "scrape_s": min(1.0, options.slot_s / 4),
        "window_s": max(10.0, 3 * options.slot_s),
        "stale_after_s": max(6.0, 2 * options.slot_s),
        "drain_deadline_s": 30.0,
        "llm_url": options.llm_url,
        "llm_timeout_s": options.llm_timeout_s,
    }


def scenario_of(world: World, options: DemoOptions, workload: Workload) -> Scenario:
    """The run as a scenario: its world with the service that was measured, its traces, its shift."""
    entry, events = workload_entry(workload)
    speeds = sum(n.speed for n in world.nodes)
    cores = world.host_cores or speeds  # a scenario counts load against its nodes' speeds, not the host's cores
    return from_world(
        world,
        name="demo",
        duration_s=options.duration_s,
        slot_s=options.slot_s,
        epoch_slots=options.epoch_slots,
        seed=options.seed,
        shedding=True,
        workload=replace(entry, target_load=workload.realised_load * cores / speeds),
        events=events,
    )
