"""One look at the API: nodes, Deployments and pods of ours, and what they add up to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.errors import AdmissionRefused, SetupError, UnknownNode
from edgewise.domain.model import ModelSpec
from tools.kubernetes import facts
from tools.kubernetes.api import Item
from tools.kubernetes.names import MODEL, NODE, annotation, label, label_value
from tools.kubernetes.settings import KubernetesSettings

Key = tuple[str, str]  # (node id, model id)


@dataclass(frozen=True, slots=True)
class Survey:
    """Objects by what they are of. `at` is the API server's time of the look."""

    at: datetime
    nodes: dict[str, Item]
    deployments: dict[Key, Item]
    pods: dict[Key, list[Item]]
    settings: KubernetesSettings

    def node(self, node: str) -> Item:
        """Raises UnknownNode."""
        if node not in self.nodes:
            known = ", ".join(sorted(self.nodes)) or f"none: label your nodes {NODE}=ID"
            raise UnknownNode(f"node {node!r} is not in the cluster", hint=f"known nodes: {known}")
        return self.nodes[node]

    def seen(self, key: Key) -> facts.Seen:
        # A replica whose Node object was deleted has no node to live on.
        item = self.nodes.get(key[0])
        down = facts.node_down(item) if item else f"node {key[0]} is not in the cluster"
        wait_s = self.settings.unschedulable_s
        return facts.replica_seen(self.deployments.get(key), self.pods.get(key, []), down, self.at, wait_s)

    def replicas(self) -> dict[Key, facts.Seen]:
        """Every replica that is not absent."""
        keys = sorted({*self.deployments, *self.pods})
        found = {key: self.seen(key) for key in keys}
        return {key: seen for key, seen in found.items() if seen.state is not ReplicaState.ABSENT}

    def budget_gib(self, node: str) -> float:
        return facts.node_budget_gib(self.node(node), node, self.settings.memory_gib, self.settings.memory_scale)

    def used_gib(self, node: str) -> float:
        """Catalogue GiB of the replicas that hold memory on this node."""
        return sum(
            facts.deployment_gib(self.deployments[key])
            for key, seen in self.replicas().items()
            if key[0] == node and key in self.deployments and seen.state.holds_memory
        )

    def admit(self, node: str, spec: ModelSpec) -> None:
        """Raises AdmissionRefused when the model does not fit what is free."""
        budget = self.budget_gib(node)
        free = budget - self.used_gib(node)
        if spec.memory_gib > free + 1e-9:
            raise AdmissionRefused(
                f"{spec.id} needs {spec.memory_gib:g} GiB, {free:g} GiB of {budget:g} GiB are free",
                where=node,
                hint="drain and unload another model first",
            )

    def failed_reserves(self, node: str, but: str) -> list[Key]:
        """Failed replicas of this node, other than model `but`, that Kubernetes still keeps a place for."""
        return [
            key
            for key, seen in self.replicas().items()
            if key[0] == node and key[1] != but and seen.state is ReplicaState.FAILED
            and int(self.deployments[key]["spec"].get("replicas", 1)) > 0
        ]  # fmt: skip


def survey(
    at: datetime,
    nodes: Iterable[Item],
    deployments: Iterable[Item],
    pods: Iterable[Item],
    models: Iterable[str],
    settings: KubernetesSettings,
) -> Survey:
    """Sorts the objects. Raises SetupError when two nodes carry the same id."""
    by_id: dict[str, Item] = {}
    for item in nodes:
        node_id = label(item, NODE)
        if node_id in by_id:
            both = f"{by_id[node_id]['metadata']['name']} and {item['metadata']['name']}"
            raise SetupError(f"nodes {both} both carry the label {NODE}={node_id}", hint="give each node its own id")
        by_id[node_id] = item
    ids = {label_value(m): m for m in models}
    grouped: dict[Key, list[Item]] = {}
    for pod in pods:
        grouped.setdefault(_key(pod, ids), []).append(pod)
    return Survey(at, by_id, {_key(d, ids): d for d in deployments}, grouped, settings)


def _key(item: Item, ids: dict[str, str]) -> Key:
    shown = label(item, MODEL)
    return label(item, NODE), annotation(item, MODEL) or ids.get(shown, shown)
