"""LocalCluster when node processes die, fall silent, come back, or are not what they seem."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from edgewise.domain.cluster import NodeSpec, ReplicaState
from edgewise.domain.errors import ClusterUnavailable
from edgewise.domain.model import ModelSpec, Task
from edgewise.domain.observation import ClusterFacts, NodeFact
from edgewise.domain.world import World
from tests.support.double_launcher import DoubleLauncher
from tools.clock import RunClock
from tools.local import LocalCluster, NodeClient, NodeHandle

MODEL = "m"
WORLD = World(
    (NodeSpec("n1", 4.0), NodeSpec("n2", 4.0)),
    (ModelSpec(MODEL, Task.TEXT_GENERATION, 1.0, 1.0, load_s=0.05),),
)


class Scene:
    def __init__(self, cluster: LocalCluster, launcher: DoubleLauncher) -> None:
        self.cluster = cluster
        self.launcher = launcher

    async def until(self, predicate: Callable[[ClusterFacts], bool], timeout_s: float = 40.0) -> ClusterFacts:
        end = time.monotonic() + timeout_s
        while not predicate(facts := await self.cluster.observe()):
            assert time.monotonic() < end, f"not within {timeout_s} s: {facts}"
            await asyncio.sleep(0.1)
        return facts


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    clock = RunClock()
    launcher = DoubleLauncher(WORLD, tmp_path, clock.origin)
    try:
        handles = await asyncio.to_thread(launcher.handles)
        cluster = LocalCluster(handles, WORLD, clock, launcher, dead_after_s=3.0, poll_timeout_s=1.0)
        scene = Scene(cluster, launcher)
        await scene.until(lambda facts: all(n.alive for n in facts.nodes))
        yield scene
        await cluster.aclose()
    finally:
        launcher.close()


async def test_a_killed_node_is_dead_at_once_and_returns_empty_elsewhere(scene: Scene) -> None:
    await scene.cluster.load("n1", MODEL)
    await scene.cluster.share("n1", {MODEL: 2.5})
    await scene.until(lambda facts: facts.state("n1", MODEL) is ReplicaState.READY)
    old = scene.cluster.urls()

    scene.launcher.refuse_spawn = True
    scene.launcher.signal("n1", signal.SIGKILL)
    facts = await scene.cluster.observe()
    assert not _node(facts, "n1").alive
    assert facts.state("n1", MODEL) is ReplicaState.ABSENT
    assert _node(facts, "n2").alive
    with pytest.raises(ClusterUnavailable):
        await scene.cluster.load("n1", MODEL)
    await scene.until(lambda _: "n1" in scene.cluster.restart_errors())

    scene.launcher.refuse_spawn = False
    facts = await scene.until(lambda facts: _node(facts, "n1").alive)
    assert facts.state("n1", MODEL) is ReplicaState.ABSENT
    assert _node(facts, "n1").memory_used_gib == 0.0
    assert scene.launcher.spawned == ["n1", "n2", "n1"]
    now = scene.cluster.urls()
    assert now["n1"] != old["n1"]
    assert now["n2"] == old["n2"]
    assert scene.cluster.restart_errors() == {}
    await scene.cluster.load("n1", MODEL)
    await scene.until(lambda facts: facts.state("n1", MODEL) is ReplicaState.READY)
    async with aiohttp.ClientSession() as session:
        state = await NodeClient(session, "n1", now["n1"], timeout_s=10.0).state()
    assert [r.share for r in state.replicas] == [2.5]


async def test_a_silent_node_ages_then_counts_as_dead_then_returns_with_what_it_had(scene: Scene) -> None:
    await scene.cluster.load("n1", MODEL)
    await scene.until(lambda facts: facts.state("n1", MODEL) is ReplicaState.READY)
    scene.launcher.signal("n1", signal.SIGSTOP)
    try:
        facts = await scene.until(lambda facts: not _node(facts, "n1").alive)
        assert _node(facts, "n1").age_s > 3.0
        assert facts.state("n1", MODEL) is ReplicaState.READY
        (replica,) = facts.replicas
        assert replica.age_s > 3.0
        assert _node(facts, "n2").age_s < _node(facts, "n1").age_s
    finally:
        scene.launcher.signal("n1", signal.SIGCONT)
    facts = await scene.until(lambda facts: _node(facts, "n1").alive)
    assert facts.state("n1", MODEL) is ReplicaState.READY
    assert scene.launcher.spawned == ["n1", "n2"]


async def test_another_node_at_a_known_address_is_not_taken_for_the_old_one(scene: Scene) -> None:
    urls = scene.cluster.urls()
    swapped = {"n1": NodeHandle(urls["n2"], WORLD.nodes[0]), "n2": NodeHandle(urls["n2"], WORLD.nodes[1])}
    cluster = LocalCluster(swapped, WORLD, RunClock(), scene.launcher)
    try:
        facts = await cluster.observe()
        assert not _node(facts, "n1").alive
    finally:
        await cluster.aclose()


def _node(facts: ClusterFacts, node: str) -> NodeFact:
    return next(n for n in facts.nodes if n.node == node)
