"""The demo's world: nodes, catalogue, settings; and the scenario that describes it for other tools."""

from __future__ import annotations

import math
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


# Part of the host's cores that the nodes' prompts may use together; the rest is HTTP, controller, store, screen.
NODES_PART = 0.85
# A deadline below this many ideal latencies would make every second prompt late on a slow node.
DEADLINE_IDEALS = 10.0
APPROVAL_S = 30.0  # a request for approval waits so long


def node_speed(nodes: int, cores: int) -> float:
    """Each node's part of a core: equal parts of what the host has for nodes, and never more than one core, since a
    node computes on one thread."""
    return min(1.0, NODES_PART * cores / nodes)


def host_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def make_world(options: DemoOptions, models: tuple[ModelSpec, ...], speed: float) -> World:
    """Nodes of `speed`, held to it by a CPU limit; speed 1 is one core of this machine."""
    nodes = tuple(
        NodeSpec(f"edge-{i + 1}", options.budget_gib(i), speed=speed, idle_w=IDLE_W, busy_w=BUSY_W)
        for i in range(options.nodes)
    )
    return World(nodes, models, Network(Link(latency_ms=0.0, bandwidth_mbps=10_000.0)))


def with_means(models: Sequence[ModelSpec], rows: Sequence[WorkloadRow], speed: float) -> tuple[ModelSpec, ...]:
    """The catalogue with each model's mean expected service over the prompts that will be sent, seconds at speed 1,
    and deadlines that nodes of `speed` can keep."""
    sizes: dict[str, list[PromptSize]] = {}
    for row in rows:
        sizes.setdefault(row.model, []).append(row.request.size)
    means = {
        m.id: sum(m.expected_service_s(s) for s in sizes[m.id]) / len(sizes[m.id]) for m in models if m.id in sizes
    }
    measured = (replace(m, mean_service_s=means.get(m.id, m.mean_service_s)) for m in models)
    return tuple(
        replace(m, deadline_s=round(max(m.deadline_s, DEADLINE_IDEALS * m.mean_service_s / speed), 1))
        for m in measured
    )


def approval_slots(options: DemoOptions) -> int:
    """So many that a person has time to read: the demo's slots are short."""
    return max(2, math.ceil(APPROVAL_S / options.slot_s))


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
        **({"approval": "placement", "approval_slots": approval_slots(options)} if options.approve else {}),
    }


def scenario_of(world: World, options: DemoOptions, workload: Workload) -> Scenario:
    """The run as a scenario: its world with the service that was measured, its traces, its shift."""
    entry, events = workload_entry(workload)
    return from_world(
        world,
        name="demo",
        duration_s=options.duration_s,
        slot_s=options.slot_s,
        epoch_slots=options.epoch_slots,
        seed=options.seed,
        shedding=True,
        workload=entry,
        events=events,
    )
