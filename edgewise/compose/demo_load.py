"""How much a demo sends: service is measured on the nodes, and the load chosen to fit the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgewise.compose.options import DemoOptions
from edgewise.domain.model import ModelSpec
from edgewise.domain.world import World
from evals.bundle import Workload
from evals.calibrate import calibrate
from evals.traces import trace_folder
from evals.workload import default_workload, trace_workload

# Part of the nodes' speed that prompts need on average; the rest is for bursts.
TARGET_LOAD = 0.5


async def measure(urls: Mapping[str, str], world: World) -> tuple[ModelSpec, ...]:
    """The catalogue with service profiles and load times measured on these nodes ({node: URL}), one prompt at a
    time, each model on the smallest node that holds it."""
    at: dict[str, str] = {}
    by_memory = sorted(world.nodes, key=lambda n: n.memory_gib)
    for model in world.models:
        node = next(n for n in by_memory if n.memory_gib >= model.memory_gib)
        at[model.id] = urls[node.id]
    found = await calibrate(at, world.models)
    return tuple(
        replace(
            m,
            service=found[m.id].profile,
            service_cv=found[m.id].profile.cv,
            load_s=found[m.id].load_s or m.load_s,
        )
        for m in world.models
    )


def plan_workload(options: DemoOptions, world: World) -> Workload:
    """The prompts to send: one trace as it was recorded (times `--speedup`), or the default mix at a load that fits.
    Raises BadInput, with file and line, for a trace that cannot be replayed."""
    profiles = {m.id: m.service for m in world.models if m.service is not None}
    capacity = sum(n.speed for n in world.nodes)
    if options.trace is not None:
        return trace_workload(
            options.trace,
            world,
            profiles,
            options.duration_s,
            capacity,
            TARGET_LOAD,
            options.speedup or 1.0,
            options.seed,
        )
    return default_workload(
        world, profiles, trace_folder(), options.duration_s, capacity, TARGET_LOAD, options.speedup, options.seed
    )
