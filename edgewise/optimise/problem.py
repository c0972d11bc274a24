"""A decision's circumstances as flat arrays: what the search and the estimate compute on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgewise.domain.cluster import Network, NodeSpec, ReplicaState
from edgewise.domain.model import ModelSpec
from edgewise.domain.observation import Observation

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Prices:
    """Weights of the objective (see Settings). `churn_s`: seconds over which a load or unload is paid off: half an
    hour, in which the mix of demand drifts little in the recorded traces."""

    alpha: float = 1.0
    beta: float = 0.02
    gamma: float = 0.0
    churn_s: float = 1800.0


@dataclass(frozen=True)
class Links:
    """The network seen from access nodes; its table is made when somebody asks, as a large cluster's would be large
    (2,000 × 50 × 2,000 numbers)."""

    network: Network
    access: tuple[str, ...]
    models: tuple[ModelSpec, ...]
    nodes: tuple[str, ...]

    @cached_property
    def trip(self) -> Floats:
        """Network s[a, m, n] of one prompt of m that enters at a and is served at n."""
        at_access = {name: i for i, name in enumerate(self.access)}
        at_node = {name: i for i, name in enumerate(self.nodes)}
        sizes = [(m.request_kib, m.response_kib) for m in self.models]
        plain = np.array([self.network.round_trip_s("", "-", *kib) for kib in sizes])
        trip = np.tile(plain[None, :, None], (len(self.access), 1, len(self.nodes)))
        for pair in reversed(self.network.pairs):  # of two entries for a pair the first counts
            row = [self.network.round_trip_s(pair.a, pair.b, *kib) for kib in sizes]
            for a, b in ((pair.a, pair.b), (pair.b, pair.a)):
                if a in at_access and b in at_node:
                    trip[at_access[a], :, at_node[b]] = row
        for name, i in at_access.items():
            if name in at_node:
                trip[i, :, at_node[name]] = 0.0
        return np.asarray(trip)


@dataclass(frozen=True)
class Problem:
    """N alive nodes, M catalogue models, A access nodes; arrays are indexed in the order of these names.

    memory, speed: per node, GiB and relative. need: GiB per replica. service: mean seconds at speed 1.0, alone.
    scv: squared coefficient of variation of service (1 where a model's prompts share the processor). burst: index of
    dispersion of arrivals (1: Poisson; recorded traces have 2 to 10 in windows of a slot). load: mean
    seconds a load takes. ideal: mean latency alone on the fastest node, s. links: `trip[a, m, n]`, network s.
    ready, held, fixed[n, m]: ready now; counted as there (ready or loading); never to be evicted (loading).
    banned[n, m]: a load failed there and is not tried again. ready_in[n, m]: seconds until a replica there could
    serve. work[n, m]: expected service queued there, s at speed 1.0. count[n, m]: prompts queued or running there.
    waiting[m], stray_work[m]: prompts (and their service, s) held at the gateway or at a dead node.
    cores: processors that all nodes share, inf when each has its own. horizon: seconds a plan is judged over.
    weight[m]: how much a prompt of each kind counts, None: all alike. longest[m]: mean latency beyond which a kind
    waits too long, s; None: as long as is best.
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
    links: Links
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
    weight: Floats | None = None
    longest: Floats | None = None

    @property
    def trip(self) -> Floats:
        return self.links.trip

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
    cores = float("inf") if observation.host_cores is None else max(0.1, observation.host_cores)
    return Problem(
        nodes=tuple(at_node),
        models=tuple(at_model),
        access=access,
        memory=_budgets(observation, nodes),
        speed=np.array([max(1e-3, n.speed) for n in nodes]),
        watts=np.array([max(0.0, n.busy_w - n.idle_w) for n in nodes]),
        need=np.array([m.memory_gib for m in models]),
        service=service,
        scv=np.array([m.service_cv**2 if m.max_concurrency <= 1 else 1.0 for m in models]),
        burst=np.ones(len(models)),
        load=load,
        deadline=np.array([m.deadline_s for m in models]),
        ideal=_ideal(observation, models),
        links=Links(observation.network, access, models, tuple(at_node)),
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


def _budgets(observation: Observation, nodes: Sequence[NodeSpec]) -> Floats:
    # A node may say it has less than its spec; it never gets more.
    said = {n.id: n.memory_gib for n in nodes}
    for f in observation.cluster.nodes:
        if f.node in said and f.memory_gib > 0:
            said[f.node] = min(said[f.node], f.memory_gib)
    return np.array([said[n.id] for n in nodes])


def _ideal(observation: Observation, models: Sequence[ModelSpec]) -> Floats:
    """Mean latency [M] alone on the fastest node, the network averaged over access nodes."""
    fastest = max(observation.node_specs, key=lambda n: n.speed)
    network, names = observation.network, [n.id for n in observation.node_specs]
    special = {pair.b if pair.a == fastest.id else pair.a for pair in network.pairs if fastest.id in (pair.a, pair.b)}
    rows = []
    for m in models:
        kib = (m.request_kib, m.response_kib)
        usual = network.round_trip_s("", "-", *kib)
        trips = [
            network.round_trip_s(name, fastest.id, *kib) if name == fastest.id or name in special else usual
            for name in names
        ]
        rows.append(max(1e-6, m.mean_service_s) / fastest.speed + sum(trips) / len(trips))
    return np.array(rows)
