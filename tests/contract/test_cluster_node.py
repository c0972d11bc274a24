"""LocalCluster keeps the contract over real node server processes with tiny models."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from edgewise.domain.cluster import ReplicaState
from tests.contract.cluster_spec import SETTLE_S, ClusterSpec
from tests.contract.local_world import emptied
from tests.contract.node_world import MODELS, WORLD, NodeWorld, RealNodes
from tools.local import NodeHandle

pytestmark = pytest.mark.timeout(300)  # the first test waits for the model libraries


@pytest_asyncio.fixture
async def node_world(real_nodes: RealNodes) -> AsyncIterator[NodeWorld]:
    cluster = real_nodes.cluster()
    async with aiohttp.ClientSession() as session:
        world = NodeWorld(cluster, tuple(real_nodes.handles), MODELS, session)
        await emptied(world)
        yield world
    await cluster.aclose()


class TestLocalClusterOverNodeServers(ClusterSpec):
    @pytest.fixture
    def cluster_world(self, node_world: NodeWorld) -> NodeWorld:
        return node_world


async def test_a_killed_node_server_is_started_again_empty(real_nodes: RealNodes, node_world: NodeWorld) -> None:
    launcher, cluster = real_nodes.launcher, node_world.cluster
    await cluster.load("n2", "small")
    await node_world.settle(lambda f: f.state("n2", "small") is ReplicaState.READY, SETTLE_S)
    old = launcher.pid("n2")
    os.kill(old, signal.SIGKILL)
    begun = time.monotonic()
    while not launcher.exited("n2"):
        assert time.monotonic() - begun < SETTLE_S, "the launcher never heard of the death"
        await asyncio.sleep(0.05)
    facts = await cluster.observe()
    assert [n.alive for n in facts.nodes] == [True, False]
    facts = await node_world.settle(lambda f: all(n.alive for n in f.nodes), SETTLE_S)
    real_nodes.handles["n2"] = NodeHandle(cluster.urls()["n2"], WORLD.node("n2"))
    assert launcher.pid("n2") != old
    assert facts.state("n2", "small") is ReplicaState.ABSENT
    await cluster.load("n2", "small")
    await node_world.settle(lambda f: f.state("n2", "small") is ReplicaState.READY, SETTLE_S)
    assert await node_world.send("n2", "small", 0.05) == 200
