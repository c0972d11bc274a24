"""The world a run takes place in: nodes, catalogue, network. Fixed for the run; every process gets the same one."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgewise.domain.cluster import Network, NodeSpec
from edgewise.domain.errors import UnknownModel, UnknownNode
from edgewise.domain.model import ModelSpec


@dataclass(frozen=True, slots=True)
class World:
    """host_cores: cores that all nodes share when one machine plays several nodes; None when each has its own."""

    nodes: tuple[NodeSpec, ...]
    models: tuple[ModelSpec, ...]
    network: Network = field(default_factory=Network)
    host_cores: float | None = None

    def model(self, model_id: str) -> ModelSpec:
        for spec in self.models:
            if spec.id == model_id:
                return spec
        known = ", ".join(m.id for m in self.models)
        raise UnknownModel(f"model {model_id!r} is not in the catalogue", hint=f"known models: {known}")

    def node(self, node_id: str) -> NodeSpec:
        for spec in self.nodes:
            if spec.id == node_id:
                return spec
        known = ", ".join(n.id for n in self.nodes)
        raise UnknownNode(f"node {node_id!r} is not in the cluster", hint=f"known nodes: {known}")

    def ideal_s(self, model: ModelSpec, service_s: float) -> float:
        """Expected latency of a prompt of `service_s` (speed 1.0), alone on the fastest node, network averaged
        over access nodes. Seconds."""
        fastest = max(self.nodes, key=lambda n: n.speed)
        trips = [
            self.network.round_trip_s(n.id, fastest.id, model.request_kib, model.response_kib) for n in self.nodes
        ]
        return service_s / fastest.speed + sum(trips) / len(trips)
