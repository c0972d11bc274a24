"""A decision's circumstances as flat arrays: what the search and the estimate compute on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgewise.domain.cluster import NodeSpec, ReplicaState
from edgewise.domain.model import ModelSpec
from edgewise.domain.observation import Observation

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Prices:
    """Weights of the objective (see Settings). `churn_s`: seconds over which a load or unload is paid off: half an
    hour, in which the mix of demand drifts little in the recorded traces."""

    alpha: float = 1.0
    beta: float = 0.02
    gamma: float = 0.0
    churn_s: float = 1800.0


@dataclass(frozen=True)
class Problem:
    """N alive nodes, M catalogue models, A access nodes; arrays are indexed in the order of these names.

    memory, speed: per node, GiB and relative. need: GiB per replica. service: mean seconds at speed 1.0, alone.
    scv: squared coefficient of variation of service (1 where a model's prompts share the processor). burst: index of
    dispersion of arrivals (1: Poisson; recorded traces have 2 to 10 in windows of a slot). load: mean
    seconds a load takes. ideal: mean latency alone on the fastest node, s. trip[a, m, n]: network s of one prompt.
    ready, held, fixed[n, m]: ready now; counted as there (ready or loading); never to be evicted (loading).
    banned[n, m]: a load failed there and is not tried again. ready_in[n, m]: seconds until a replica there could
    serve. work[n, m]: expected service queued there, s at speed 1.0. count[n, m]: prompts queued or running there.
    waiting[m], stray_work[m]: prompts (and their service, s) held at the gateway or at a dead node.
    cores: processors that all nodes share, inf when each has its own. horizon: seconds a plan is judged over.
    """

    nodes: tuple[str, ...]
    models: tuple[str, ...]
    access: tuple[str, ...]
    memory: Floats
    speed: Floats
    watts: Floats
    need: Floats
    service: Floats
    scv: Floats
    burst: Floats
    load: Floats
    deadline: Floats
    ideal: Floats
    trip: Floats
    ready: Bools
    held: Bools
    fixed: Bools
    banned: Bools
    ready_in: Floats
    work: Floats
    count: Floats
    waiting: Floats
    stray_work: Floats
    cores: float
    horizon: float
    prices: Prices

    @property
    def capacity(self) -> float:
        """Seconds of service at speed 1.0 that the cluster can give per second."""
        return float(min(self.speed.sum(), self.cores))


def problem(observation: Observation, prices: Prices) -> Problem:
    """The arrays of an observation. Only nodes that were alive when last seen count as places to serve."""
    nodes, models = observation.alive, observation.model_specs
    access = tuple(
        dict.fromkeys([n.id for n in observation.node_specs] + [d.access_node for d in observation.telemetry.demand])
    )
    at_node = {n.id: i for i, n in enumerate(nodes)}
    at_model = {m.id: j for j, m in enumerate(models)}
    service = np.array([max(1e-6, m.mean_service_s) for m in models])
    load = np.array([max(0.0, m.load_s) for m in models])
    shape = (len(nodes), len(models))
    ready, held, fixed, banned = (np.zeros(shape, dtype=bool) for _ in range(4))
    ready_in = np.tile(load, (len(nodes), 1))
    for r in observation.cluster.replicas:
        if r.node in at_node and r.model in at_model:
            at = (at_node[r.node], at_model[r.model])
            ready[at] = r.state is ReplicaState.READY
            fixed[at] = r.state is ReplicaState.LOADING
            banned[at] = r.state is ReplicaState.FAILED
            held[at] = ready[at] or fixed[at]
            if ready[at]:
                ready_in[at] = 0.0
            elif fixed[at]:
                ready_in[at] = r.ready_in_s if r.ready_in_s > 0 else load[at[1]] / 2
    work, count, stray = np.zeros(shape), np.zeros(shape), np.zeros(len(models))
    waiting = np.zeros(len(models))
    for x in observation.telemetry.loads:
        if x.model not in at_model:
            continue
        j = at_model[x.model]
        work_s = max(0.0, x.work_s) or (x.queued + 0.5 * x.in_flight) * service[j]
        if x.node in at_node:
            work[at_node[x.node], j] += work_s
            count[at_node[x.node], j] += max(0, x.queued) + max(0, x.in_flight)
        else:
            stray[j] += work_s
            waiting[j] += max(0, x.queued) + max(0, x.in_flight)
    for f in observation.telemetry.models:
        if f.model in at_model:
            waiting[at_model[f.model]] += max(0, f.waiting)
            stray[at_model[f.model]] += max(0, f.waiting) * service[at_model[f.model]]
    memory = np.array([_budget(observation, n) for n in nodes])
    cores = float("inf") if observation.host_cores is None else max(0.1, observation.host_cores)
    return Problem(
        nodes=tuple(at_node),
        models=tuple(at_model),
        access=access,
        memory=memory,
        speed=np.array([max(1e-3, n.speed) for n in nodes]),
        watts=np.array([max(0.0, n.busy_w - n.idle_w) for n in nodes]),
        need=np.array([m.memory_gib for m in models]),
        service=service,
        scv=np.array([m.service_cv**2 if m.max_concurrency <= 1 else 1.0 for m in models]),
        burst=np.ones(len(models)),
        load=load,
        deadline=np.array([m.deadline_s for m in models]),
        ideal=_ideal(observation, models),
        trip=_trips(observation, access, models, nodes),
        ready=ready,
        held=held,
        fixed=fixed,
        banned=banned,
        ready_in=ready_in,
        work=work,
        count=count,
        waiting=waiting,
        stray_work=stray,
        cores=cores,
        horizon=max(1.0, observation.slot_s * observation.epoch_slots),
        prices=prices,
    )


def _budget(observation: Observation, node: NodeSpec) -> float:
    # A node may say it has less than its spec; it never gets more.
    said = [f.memory_gib for f in observation.cluster.nodes if f.node == node.id and f.memory_gib > 0]
    return min([node.memory_gib, *said])


def _ideal(observation: Observation, models: Sequence[ModelSpec]) -> Floats:
    fastest = max(observation.node_specs, key=lambda n: n.speed)
    rows = []
    for m in models:
        trips = [
            observation.network.round_trip_s(n.id, fastest.id, m.request_kib, m.response_kib)
            for n in observation.node_specs
        ]
        rows.append(max(1e-6, m.mean_service_s) / fastest.speed + sum(trips) / len(trips))
    return np.array(rows)


def _trips(
    observation: Observation, access: Sequence[str], models: Sequence[ModelSpec], nodes: Sequence[NodeSpec]
) -> Floats:
    network = observation.network
    # Most clusters have one kind of link; a table of the pairs that differ saves A·M·N look-ups.
    special = {frozenset((p.a, p.b)) for p in network.pairs}
    plain = [network.round_trip_s("", "-", m.request_kib, m.response_kib) for m in models]
    trip = np.empty((len(access), len(models), len(nodes)))
    trip[:] = np.array(plain)[None, :, None]
    for i, a in enumerate(access):
        for k, n in enumerate(nodes):
            if a == n.id:
                trip[i, :, k] = 0.0
            elif special and frozenset((a, n.id)) in special:
                trip[i, :, k] = [network.round_trip_s(a, n.id, m.request_kib, m.response_kib) for m in models]
    return trip
