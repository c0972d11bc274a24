"""LocalCluster keeps the contract over real node server processes with tiny models."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec

import aiohttp
import pytest
import pytest_asyncio

from edgewise.domain.cluster import NodeSpec, ReplicaState
from edgewise.domain.model import ModelSpec, Task
from edgewise.domain.world import World
from serving.checkpoints import Source
from tests.contract.cluster_spec import SETTLE_S, ClusterSpec
from tests.contract.local_world import LocalWorld, emptied
from tests.support.forked_launcher import ForkedLauncher
from tools.clock import RunClock
from tools.local import LocalCluster, NodeHandle

pytestmark = [
    pytest.mark.skipif(find_spec("torch") is None, reason="node servers need the serving extra (torch)"),
    pytest.mark.timeout(300),
]

MODELS = tuple(
    ModelSpec(name, Task.TEXT_GENERATION, gib, 0.1, load_s=0.3)
    for name, gib in (("small", 1.0), ("other", 1.5), ("big", 3.5), ("broken", 1.0))
)
WORLD = World((NodeSpec("n1", 4.0), NodeSpec("n2", 4.0)), MODELS)
TOKENS_PER_S = 600  # about what the tiny GPT-2 makes on one core
LONGEST_TOKENS = 900  # its context is 1024

Nodes = tuple[ForkedLauncher, dict[str, NodeHandle], RunClock]


class NodeWorld(LocalWorld):
    """Prompts to real node servers: as many tokens as take about the seconds asked for."""

    long_s = 1.5

    def send(self, node: str, model: str, seconds: float) -> asyncio.Task[int]:
        return asyncio.create_task(self._send(node, model, seconds))

    async def _send(self, node: str, model: str, seconds: float) -> int:
        tokens = max(1, min(LONGEST_TOKENS, round(seconds * TOKENS_PER_S)))
        body = {"model": model, "prompt": "a word", "max_tokens": tokens, "min_tokens": tokens}
        async with self.session.post(f"{self.cluster.urls()[node]}/v1/completions", json=body) as answer:
            if answer.status == 200:
                assert (await answer.json())["usage"]["completion_tokens"] == tokens
            else:
                assert answer.headers["x-edgewise-handed-back"] == "1"
            return answer.status


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("nodes")
    tiny = folder / "tiny"
    sources = {spec.id: Source(str(tiny / "gpt2")) for spec in MODELS[:3]}
    sources["broken"] = Source(str(folder / "nothing-here"))
    clock = RunClock()
    launcher = ForkedLauncher(WORLD, sources, clock.origin, folder / "nodes.log")
    try:
        yield launcher, launcher.start(tiny), clock
    finally:
        launcher.close()


@pytest_asyncio.fixture
async def node_world(nodes: Nodes) -> AsyncIterator[NodeWorld]:
    launcher, handles, clock = nodes
    cluster = LocalCluster(handles, WORLD, clock, launcher, dead_after_s=20.0, poll_timeout_s=10.0)
    async with aiohttp.ClientSession() as session:
        world = NodeWorld(cluster, tuple(handles), MODELS, session)
        await emptied(world)
        yield world
    await cluster.aclose()


class TestLocalClusterOverNodeServers(ClusterSpec):
    @pytest.fixture
    def cluster_world(self, node_world: NodeWorld) -> NodeWorld:
        return node_world


async def test_a_killed_node_server_is_started_again_empty(nodes: Nodes, node_world: NodeWorld) -> None:
    """Other tests find the new process by the handles, which this one sets right."""
    launcher, handles, _ = nodes
    cluster = node_world.cluster
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
    assert launcher.pid("n2") != old
    assert facts.state("n2", "small") is ReplicaState.ABSENT
    handles["n2"] = NodeHandle(cluster.urls()["n2"], WORLD.node("n2"))
    await cluster.load("n2", "small")
    await node_world.settle(lambda f: f.state("n2", "small") is ReplicaState.READY, SETTLE_S)
    assert await node_world.send("n2", "small", 0.05) == 200
