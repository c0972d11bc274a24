"""The in-memory cluster keeps the contract, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from edgewise.domain.cluster import NodeSpec
from edgewise.domain.model import ModelSpec, Task
from edgewise.domain.observation import ClusterFacts
from edgewise.domain.world import World
from tests.contract.cluster_spec import ClusterSpec
from tests.support.fakes import FakeClock, FakeCluster

MODELS = tuple(
    ModelSpec(name, Task.TEXT_GENERATION, gib, 1.0, load_s=2.0)
    for name, gib in (("small", 1.0), ("other", 1.5), ("big", 3.5), ("broken", 1.0))
)


class FakeWorld:
    nodes = ("n1", "n2")
    models = MODELS
    long_s = 5.0

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cluster = FakeCluster(World(tuple(NodeSpec(n, 4.0) for n in self.nodes), MODELS), self.clock)
        for node in self.nodes:
            self.cluster.break_load(node, "broken")

    def send(self, node: str, model: str, seconds: float) -> asyncio.Task[int]:
        return asyncio.ensure_future(self._send(node, model, seconds))

    async def _send(self, node: str, model: str, seconds: float) -> int:
        answer = self.cluster.send(node, model, seconds)
        # Whoever awaits the answer lets time pass, but only after it was all the others' turn.
        while not answer.done():
            await asyncio.sleep(0.002)
            await self.clock.advance(0.02)
        return await answer

    async def settle(self, predicate: Callable[[ClusterFacts], bool], timeout_s: float) -> ClusterFacts:
        end_s = self.clock.now_s() + timeout_s
        while self.clock.now_s() < end_s:
            facts = await self.cluster.observe()
            if predicate(facts):
                return facts
            await self.clock.advance(0.5)
        raise AssertionError("the cluster did not settle")

    async def in_flight(self, node: str, model: str) -> tuple[int, int]:
        for load in self.cluster.loads():
            if (load.node, load.model) == (node, model):
                return load.queued, load.in_flight
        return 0, 0


class TestFakeCluster(ClusterSpec):
    @pytest.fixture
    def cluster_world(self) -> FakeWorld:
        return FakeWorld()
