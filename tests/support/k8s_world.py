"""The world of the Cluster contract on Kubernetes: echo replicas, prompts sent to their pods."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import aiohttp

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.errors import ReplicaBusy
from edgewise.domain.model import ModelSpec, Task
from edgewise.domain.observation import ClusterFacts, ReplicaFact
from tests.support.k8s import Bed
from tools.kubernetes import KubernetesCluster, KubernetesSettings

MODELS = tuple(
    ModelSpec(name, Task.TEXT_GENERATION, gib, 1.0, checkpoint=checkpoint, load_s=1.0)
    for name, gib, checkpoint in (
        ("small", 1.0, ""),
        ("other", 1.5, ""),
        ("big", 3.5, ""),
        ("broken", 1.0, "/models/not-here"),
    )
)
NO_IMAGE = ModelSpec("org/no image", Task.TEXT_GENERATION, 1.0, 1.0)


def settings(bed: Bed) -> KubernetesSettings:
    return KubernetesSettings(
        image=bed.image,
        images={NO_IMAGE.id: "edgewise.invalid/no-such-image:1"},
        namespace=bed.namespace,
        memory_gib=dict.fromkeys(bed.nodes, 4.0),
        memory_scale=0.02,
    )


class KubernetesWorld:
    models = MODELS
    long_s = 8.0

    def __init__(self, bed: Bed, cluster: KubernetesCluster, session: aiohttp.ClientSession) -> None:
        self.bed, self.nodes, self.cluster, self.session = bed, bed.nodes, cluster, session
        self.urls: dict[tuple[str, str], str] = {}

    def send(self, node: str, model: str, seconds: float) -> asyncio.Task[int]:
        return asyncio.ensure_future(self._send(self.urls[(node, model)], model, seconds))

    async def _send(self, url: str, model: str, seconds: float) -> int:
        body = {"model": model, "prompt": "how are you?"}
        headers = {"x-edgewise-size-hint": str(seconds)}
        async with self.session.post(f"{url}/v1/completions", json=body, headers=headers) as answer:
            await answer.read()
            return answer.status

    async def settle(self, predicate: Callable[[ClusterFacts], bool], timeout_s: float) -> ClusterFacts:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            facts = await self.cluster.observe()
            for node, urls in (await self.cluster.replica_urls()).items():
                self.urls.update({(node, model): url for model, url in urls.items()})
            if predicate(facts):
                return facts
            await asyncio.sleep(0.2)
        raise AssertionError(f"the cluster did not settle: {facts}")

    async def until(self, node: str, model: str, state: ReplicaState) -> ClusterFacts:
        return await self.settle(lambda facts: facts.state(node, model) is state, 60.0)

    async def in_flight(self, node: str, model: str) -> tuple[int, int]:
        return await self.cluster.work(node, model)

    async def unload(self, node: str, model: str, timeout_s: float = 60.0) -> int:
        """Unloads as a controller does: again and again until the replica is idle. How often it was refused."""
        end, refused = time.monotonic() + timeout_s, 0
        while True:
            try:
                await self.cluster.unload(node, model)
                return refused
            except ReplicaBusy:
                refused += 1
                assert time.monotonic() < end, f"{model} on {node} never became idle"
                await asyncio.sleep(0.2)

    async def state_of(self, node: str, model: str) -> Any:
        """The replica's row of its own state document."""
        async with self.session.get(f"{self.urls[(node, model)]}/edgewise/v1/state") as answer:
            return (await answer.json())["replicas"][0]


def fact(facts: ClusterFacts, node: str, model: str) -> ReplicaFact:
    return next(r for r in facts.replicas if (r.node, r.model) == (node, model))
