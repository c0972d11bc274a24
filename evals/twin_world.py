"""A scenario as the arrays the twin runs on."""

from __future__ import annotations

import math

import numpy as np

from edgewise.control.rolling import left_scv
from edgewise.domain.world import World
from edgewise.policy.dispatch import FleetArrays
from edgewise.policy.network import network_arrays
from edgewise.twin.arrays import Physics
from edgewise.twin.demand import NODE_DOWN, NODE_SLOW, NODE_UP, TELEMETRY_STALE, Floats, Happenings, Ints
from edgewise.twin.run import fleet_for
from evals.draws import access_shares
from evals.scenario import NodeDown, NodeSlow, NodeUp, PopularityShift, Scenario

CODES = {"node-down": NODE_DOWN, "node-up": NODE_UP, "node-slow": NODE_SLOW, "telemetry-stale": TELEMETRY_STALE}


def physics_of(scenario: Scenario, world: World, seed: int) -> Physics:
    """What does not change in a run. `world`: the true one."""
    models = scenario.models
    longest = max(len(m.speedups) for m in models)
    curve = np.ones((len(models), longest))
    for i, m in enumerate(models):
        curve[i, : len(m.speedups)] = m.speedups
        curve[i, len(m.speedups) :] = m.speedups[-1]
    variance = np.array([math.log1p(m.load_s.cv**2) for m in models])
    load_mean = np.array([m.load_s.mean for m in models])
    memory, need = np.array([n.memory_gib for n in scenario.nodes]), np.array([m.memory_gib for m in models])
    latency_s, _ = network(world)
    return Physics(
        memory=memory,
        need=need,
        first_speed=np.array([n.speed for n in scenario.nodes]),
        slots=np.array([0 if scenario.discipline(m.id) == "ps" else m.max_concurrency for m in models], np.int64),
        curve=curve,
        load_mean=load_mean,
        load_mu=np.log(load_mean) - variance / 2,
        load_sigma=np.sqrt(variance),
        left_scv=np.array([left_scv(m, scenario.hints.noise) for m in world.models]),
        request_kib=np.array([m.request_kib for m in models]),
        response_kib=np.array([m.response_kib for m in models]),
        deadline_s=np.array([m.deadline_s for m in models]),
        local_node=_local_nodes(latency_s, memory, need),
        cores=math.inf if scenario.host_cores is None else scenario.host_cores,
        contention=scenario.links.contention,
        seed=seed,
    )


def fleet_of(physics: Physics, world: World) -> FleetArrays:
    """The empty fleet, with the network of the world."""
    fleet = fleet_for(physics, *network(world))
    fleet.overtakes[:] = [m.service is not None for m in world.models]  # prompts have sizes to go by
    return fleet


def network(world: World) -> tuple[Floats, Floats]:
    """(latency both ways, s per KiB), [N, N]; nothing from a node to itself."""
    return network_arrays([n.id for n in world.nodes], world.network)


def happenings_of(scenario: Scenario) -> Happenings:
    """What happens to nodes, in order of time; ties in the order of the file. Shifts are in the demand."""
    index = {n.id: i for i, n in enumerate(scenario.nodes)}
    events = [e for e in scenario.events if not isinstance(e, PopularityShift)]
    events.sort(key=lambda e: e.at_s)
    values = []
    for e in events:
        if isinstance(e, NodeSlow):
            values.append(e.factor)
        elif isinstance(e, NodeDown | NodeUp):
            values.append(0.0)
        else:
            values.append(e.for_s)
    return Happenings(
        np.array([e.at_s for e in events], np.float64),
        np.array([CODES[e.kind] for e in events], np.int64),
        np.array([-1 if e.node is None else index[e.node] for e in events], np.int64),
        np.array(values, np.float64),
    )


def ideal_s(scenario: Scenario, world: World) -> Floats:
    """[M] seconds of network in the ideal latency: to the fastest node, averaged over where prompts enter."""
    latency_s, s_per_kib = network(world)
    fastest = max(range(len(world.nodes)), key=lambda i: (world.nodes[i].speed, -i))
    shares = access_shares(scenario)
    payload = np.array([m.request_kib + m.response_kib for m in scenario.models])
    return np.asarray(shares @ latency_s[:, fastest] + (shares @ s_per_kib[:, fastest]) * payload)


def _local_nodes(latency_s: Floats, memory: Floats, need: Floats) -> Ints:
    """[N, M] the access node, or the nearest node that the model fits on (the lowest index of equals)."""
    count = len(memory)
    nearest = np.repeat(np.arange(count, dtype=np.int64)[:, None], len(need), axis=1)
    for m, needed in enumerate(need):
        fits = memory >= needed - 1e-9
        small = np.nonzero(~fits)[0]
        if small.size:
            nearest[small, m] = np.where(fits, latency_s[small], np.inf).argmin(axis=1)
    return nearest
