"""LocalCluster keeps the contract over node server processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from edgewise.domain.cluster import NodeSpec
from edgewise.domain.model import ModelSpec, Task
from edgewise.domain.world import World
from tests.contract.cluster_spec import ClusterSpec
from tests.contract.local_world import LocalWorld, emptied
from tests.support.double_launcher import DoubleLauncher
from tools.clock import RunClock
from tools.local import LocalCluster, NodeHandle

# Loads take long enough to be seen, and the catalogue's names need quoting in a path, as hub ids do.
MODELS = tuple(
    ModelSpec(f"tests/{name}", Task.TEXT_GENERATION, gib, 1.0, load_s=0.3)
    for name, gib in (("small", 1.0), ("other", 1.5), ("big", 3.5), ("broken", 1.0))
)
WORLD = World((NodeSpec("n1", 4.0), NodeSpec("n2", 4.0)), MODELS)


class DoubleWorld(LocalWorld):
    """Prompts to a node double: it sleeps as many seconds as it is told."""

    long_s = 1.5

    def send(self, node: str, model: str, seconds: float) -> asyncio.Task[int]:
        return asyncio.create_task(self._send(node, model, seconds))

    async def _send(self, node: str, model: str, seconds: float) -> int:
        url = f"{self.cluster.urls()[node]}/v1/completions"
        hint = {"x-edgewise-size-hint": str(seconds)}
        async with self.session.post(url, json={"model": model, "prompt": "x"}, headers=hint) as answer:
            assert answer.status == 200 or answer.headers["x-edgewise-handed-back"] == "1"
            return answer.status


@pytest.fixture(scope="module")
def nodes(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[DoubleLauncher, dict[str, NodeHandle], RunClock]]:
    clock = RunClock(time.monotonic())
    launcher = DoubleLauncher(WORLD, _folder(tmp_path_factory), clock.origin, broken=("tests/broken",))
    try:
        yield launcher, launcher.handles(), clock
    finally:
        launcher.close()


def _folder(factory: pytest.TempPathFactory) -> Path:
    return factory.mktemp("doubles")


class TestLocalClusterOverDoubles(ClusterSpec):
    @pytest_asyncio.fixture
    async def cluster_world(
        self, nodes: tuple[DoubleLauncher, dict[str, NodeHandle], RunClock]
    ) -> AsyncIterator[DoubleWorld]:
        launcher, handles, clock = nodes
        cluster = LocalCluster(handles, WORLD, clock, launcher, dead_after_s=20.0, poll_timeout_s=10.0)
        async with aiohttp.ClientSession() as session:
            world = DoubleWorld(cluster, tuple(handles), MODELS, session)
            await emptied(world)
            yield world
        await cluster.aclose()
