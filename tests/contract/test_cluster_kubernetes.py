"""Kubernetes keeps the contract: on the real cluster of $KUBECONFIG, with the rights of deploy/replica/rbac.yaml."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator

import aiohttp
import pytest
import pytest_asyncio

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.model import ModelSpec, Task
from edgewise.domain.observation import ClusterFacts
from tests.contract.cluster_spec import ClusterSpec
from tests.support import k8s
from tools.clock import RunClock
from tools.kubernetes import KubernetesCluster, KubernetesSettings

# The first test of a session may have to build an image.
pytestmark = pytest.mark.timeout(600)

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


@pytest.fixture(scope="session")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[k8s.Bed]:
    with k8s.open_bed(tmp_path_factory.mktemp("kubeconfigs")) as opened:
        yield opened


def settings(bed: k8s.Bed) -> KubernetesSettings:
    return KubernetesSettings(
        image=bed.image,
        images={NO_IMAGE.id: "edgewise.invalid/no-such-image:1"},
        namespace=bed.namespace,
        memory_gib=dict.fromkeys(bed.nodes, 4.0),
        memory_scale=0.02,
        via_proxy=bed.via_proxy,
    )


class KubernetesWorld:
    models = MODELS
    long_s = 8.0

    def __init__(self, bed: k8s.Bed, cluster: KubernetesCluster, session: aiohttp.ClientSession) -> None:
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


@pytest_asyncio.fixture
async def cluster_world(bed: k8s.Bed) -> AsyncIterator[KubernetesWorld]:
    models = (*MODELS, NO_IMAGE)
    cluster = await KubernetesCluster.connect(models, RunClock(), settings(bed), bed.account)
    async with aiohttp.ClientSession() as session:
        yield KubernetesWorld(bed, cluster, session)
    await cluster.aclose()
    await asyncio.to_thread(bed.empty)


class TestKubernetesCluster(ClusterSpec):
    """The common contract."""
