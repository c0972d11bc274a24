"""The surroundings the Cluster spec needs over LocalCluster, whatever stands behind the node server API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import aiohttp

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.errors import ReplicaBusy
from edgewise.domain.model import ModelSpec
from edgewise.domain.observation import ClusterFacts
from tools.local import LocalCluster, NodeClient


class LocalWorld:
    """A ClusterWorld without `send`, which depends on what the nodes serve."""

    long_s = 1.0

    def __init__(
        self, cluster: LocalCluster, nodes: Sequence[str], models: Sequence[ModelSpec], session: aiohttp.ClientSession
    ) -> None:
        self.cluster = cluster
        self.nodes = nodes
        self.models = models
        self.session = session

    async def settle(self, predicate: Callable[[ClusterFacts], bool], timeout_s: float) -> ClusterFacts:
        end = time.monotonic() + timeout_s
        while True:
            facts = await self.cluster.observe()
            if predicate(facts):
                return facts
            if time.monotonic() > end:
                raise AssertionError(f"the cluster did not settle within {timeout_s} s: {facts}")
            await asyncio.sleep(0.05)

    async def in_flight(self, node: str, model: str) -> tuple[int, int]:
        client = NodeClient(self.session, node, self.cluster.urls()[node], timeout_s=10.0)
        for replica in (await client.state()).replicas:
            if replica.model == model:
                return replica.queued, replica.in_flight
        return 0, 0


async def emptied(world: LocalWorld, timeout_s: float = 60.0) -> None:
    """Brings every replica to absent, through the port, so that one set of processes serves all tests."""

    async def step(facts: ClusterFacts) -> None:
        for r in facts.replicas:
            try:
                if r.state is ReplicaState.READY:
                    await world.cluster.drain(r.node, r.model)
                elif r.state in (ReplicaState.DRAINING, ReplicaState.FAILED):
                    await world.cluster.unload(r.node, r.model)
            except ReplicaBusy:
                continue  # still in flight, or it changed since we looked

    end = time.monotonic() + timeout_s
    while (facts := await world.cluster.observe()).replicas or not all(n.alive for n in facts.nodes):
        await step(facts)
        assert time.monotonic() < end, f"not empty after {timeout_s} s: {facts}"
        await asyncio.sleep(0.05)
