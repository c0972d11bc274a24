"""The small world of a fidelity run: nodes, what stands where, shares. Nothing of it changes during a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgewise.domain.cluster import Link, Network, NodeSpec
from edgewise.domain.errors import BadInput
from edgewise.domain.model import ModelSpec, ServiceProfile
from edgewise.domain.world import World

# Every node shares its speed between kinds, and two kinds can go to either of two nodes: so dispatch and sharing
# both matter. The heaviest kinds stand apart.
PLACEMENTS: dict[int, dict[str, tuple[str, ...]]] = {
    2: {
        "edge-1": ("gpt2", "gpt2-large", "blip"),
        "edge-2": ("gpt2", "blip", "stable-diffusion"),
    },
    3: {
        "edge-1": ("gpt2", "gpt2-large", "blip"),
        "edge-2": ("gpt2", "blip", "stable-diffusion"),
        "edge-3": ("gpt2-large", "stable-diffusion"),
    },
}
# Nodes get this part of the cores: the rest is for gateway, sender and HTTP, and for whoever else is there.
NODES_PART = 0.5


@dataclass(frozen=True, slots=True)
class FidelityWorld:
    """world: nodes of their quota's speed, models as the gateway believes them. placement: {node: models}; shares: by
    model, the same on each node."""

    world: World
    placement: dict[str, tuple[str, ...]]
    shares: dict[str, float]


def placement_for(nodes: int) -> dict[str, tuple[str, ...]]:
    """Raises BadInput for a number of nodes that no placement is known for."""
    if nodes not in PLACEMENTS:
        raise BadInput(f"--nodes {nodes}: fidelity is measured on 2 or 3 nodes")
    return PLACEMENTS[nodes]


def quota_for(nodes: int, cores: int) -> float:
    """Each node's part of a core."""
    return min(1.0, NODES_PART * cores / nodes)


def make_world(placement: Mapping[str, Sequence[str]], models: tuple[ModelSpec, ...], quota: float) -> World:
    """Nodes of speed `quota` with room for exactly what stands there; no network between them."""
    memory = {m.id: m.memory_gib for m in models}
    nodes = tuple(NodeSpec(node, sum(memory[m] for m in ids), speed=quota) for node, ids in placement.items())
    return World(nodes, models, Network(Link(latency_ms=0.0, bandwidth_mbps=10_000.0)))


def with_services(models: Sequence[ModelSpec], services: Mapping[str, ServiceProfile]) -> tuple[ModelSpec, ...]:
    """The catalogue with service profiles; means are those of the catalogue's sizes until prompts are known."""
    return tuple(replace(m, service=services[m.id], service_cv=services[m.id].cv) for m in models)


def shares_for(means_s: Mapping[str, float]) -> dict[str, float]:
    """Smaller kinds get more, 1/√(mean service), the largest being 1: enough to tell a node that ignores shares."""
    most = max(means_s.values())
    return {model: round((most / mean) ** 0.5, 3) for model, mean in means_s.items()}
