"""The observation: the *fact* a decision starts from. Every group of figures carries its age in seconds."""

from __future__ import annotations

from dataclasses import dataclass

from edgewise.domain.cluster import Network, NodeSpec, ReplicaState
from edgewise.domain.model import ModelSpec


@dataclass(frozen=True, slots=True)
class NodeFact:
    """A node as last seen. `memory_used_gib` counts replicas that hold memory, in GiB as the catalogue counts."""

    node: str
    alive: bool
    memory_gib: float
    memory_used_gib: float
    url: str = ""
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ReplicaFact:
    """A replica as last seen. `since_s` is the run-clock second its state began; `ready_in_s` an estimate while
    loading (0 otherwise); `error` says why when it failed. `url` is where the replica itself answers, empty when its
    node's server answers for it."""

    node: str
    model: str
    state: ReplicaState
    since_s: float = 0.0
    ready_in_s: float = 0.0
    error: str = ""
    age_s: float = 0.0
    url: str = ""


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """What waits and runs at a replica. `work_s` is the expected service left there, seconds at speed 1.0."""

    node: str
    model: str
    queued: int
    in_flight: int
    work_s: float
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class DemandFact:
    """Arrivals of one kind at one access node in the last `window_s` seconds."""

    access_node: str
    model: str
    arrivals: int
    window_s: float
    age_s: float = 0.0

    @property
    def rate_per_s(self) -> float:
        return self.arrivals / self.window_s if self.window_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class ModelFact:
    """How one kind of prompt fared in the last `window_s` seconds, over all nodes. Means are None when nothing
    finished. `waiting` counts prompts held at the gateway because no replica is ready."""

    model: str
    completed: int
    window_s: float
    mean_latency_s: float | None
    p95_latency_s: float | None
    mean_service_s: float | None
    waiting: int
    failed: int = 0
    shed: int = 0
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ServiceFact:
    """Prompts of a model that a node finished in the last `window_s` seconds, and how long they took against what the
    catalogue says of their sizes. seen_s, expected_s: sums, seconds at the speed the node is said to have; mean_log,
    sd_log: of ln(seen / expected), prompt by prompt."""

    node: str
    model: str
    count: int
    seen_s: float
    expected_s: float
    mean_log: float
    sd_log: float
    window_s: float
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Correction:
    """What seen service says of a node (`model` empty) or of a model (`node` empty): it takes `times` what was
    believed. error: of ln(times), one standard error."""

    node: str
    model: str
    times: float
    error: float


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What the Cluster port sees: nodes and replicas at one instant of the run clock."""

    at_s: float
    nodes: tuple[NodeFact, ...]
    replicas: tuple[ReplicaFact, ...]

    def state(self, node: str, model: str) -> ReplicaState:
        for r in self.replicas:
            if r.node == node and r.model == model:
                return r.state
        return ReplicaState.ABSENT


@dataclass(frozen=True, slots=True)
class TelemetryFacts:
    """What the Telemetry port sees: loads, demand and outcomes at one instant of the run clock."""

    at_s: float
    loads: tuple[ReplicaLoad, ...]
    demand: tuple[DemandFact, ...]
    models: tuple[ModelFact, ...]
    services: tuple[ServiceFact, ...] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """All that a decision may look at; self-contained, so that it can be stored, sent and decided again. Specs are
    the catalogue's, or what is believed instead: `corrections` says where they differ."""

    at_s: float
    slot: int
    epoch: int
    slot_s: float
    epoch_slots: int
    node_specs: tuple[NodeSpec, ...]
    model_specs: tuple[ModelSpec, ...]
    network: Network
    cluster: ClusterFacts
    telemetry: TelemetryFacts
    host_cores: float | None = None  # cores all nodes share (one machine playing several nodes); None: own cores
    trigger: str = "slot"  # slot | epoch | demand-shift | node-loss | slow-node | intent
    notes: tuple[str, ...] = ()  # what could not be observed, in words
    corrections: tuple[Correction, ...] = ()  # already in the specs

    def model(self, model_id: str) -> ModelSpec:
        return next(m for m in self.model_specs if m.id == model_id)

    def node(self, node_id: str) -> NodeSpec:
        return next(n for n in self.node_specs if n.id == node_id)

    @property
    def alive(self) -> tuple[NodeSpec, ...]:
        """Specs of the nodes that were alive when last seen, in the order of `node_specs`."""
        up = {n.node for n in self.cluster.nodes if n.alive}
        return tuple(n for n in self.node_specs if n.id in up)
