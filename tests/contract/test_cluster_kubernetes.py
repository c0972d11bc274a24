"""Kubernetes keeps the contract: on the real cluster of $KUBECONFIG, with the rights of deploy/replica/rbac.yaml."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
import yaml

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.errors import AdmissionRefused, ClusterUnavailable, ReplicaBusy
from tests.contract.cluster_spec import ClusterSpec
from tests.support import k8s
from tests.support.k8s_world import MODELS, NO_IMAGE, KubernetesWorld, fact, settings
from tools.clock import RunClock
from tools.kubernetes import KubernetesCluster, KubernetesSettings
from tools.kubernetes.names import NODE
from tools.kubernetes.replica import PodAddress, ReplicaDoor

# The first test of a session may have to build an image.
pytestmark = pytest.mark.timeout(600)

Connect = Callable[..., Awaitable[KubernetesCluster]]


@pytest.fixture(scope="session")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[k8s.Bed]:
    with k8s.open_bed(tmp_path_factory.mktemp("kubeconfigs")) as opened:
        yield opened


@pytest_asyncio.fixture
async def connect(bed: k8s.Bed) -> AsyncIterator[Connect]:
    """Makes controllers (by default with the account's rights), closes them, and empties the cluster."""
    made: list[KubernetesCluster] = []

    async def one(kubeconfig: Path = bed.account, chosen: KubernetesSettings | None = None) -> KubernetesCluster:
        models = (*MODELS, NO_IMAGE)
        made.append(await KubernetesCluster.connect(models, RunClock(), chosen or settings(bed), kubeconfig))
        return made[-1]

    yield one
    for cluster in made:
        await cluster.aclose()
    await asyncio.to_thread(bed.empty)


@pytest_asyncio.fixture
async def cluster_world(bed: k8s.Bed, connect: Connect) -> AsyncIterator[KubernetesWorld]:
    async with aiohttp.ClientSession() as session:
        yield KubernetesWorld(bed, await connect(), session)


class TestKubernetesCluster(ClusterSpec):
    """The common contract."""


class TestPlacement:
    async def test_the_pod_runs_on_the_node_asked_for(self, cluster_world: KubernetesWorld) -> None:
        world, node = cluster_world, cluster_world.nodes[-1]
        await world.cluster.load(node, "small")
        await world.until(node, "small", ReplicaState.READY)
        pods = await asyncio.to_thread(_pods, world.bed)
        (where,) = (p["spec"]["nodeName"] for p in pods)
        assert await asyncio.to_thread(_node_id, world.bed, where) == node
        assert (await world.state_of(node, "small"))["model"] == "small"

    async def test_two_loads_at_once_do_not_overbook_a_node(self, cluster_world: KubernetesWorld) -> None:
        world, node = cluster_world, cluster_world.nodes[0]
        both = [world.cluster.load(node, "small"), world.cluster.load(node, "big")]
        results = await asyncio.gather(*both, return_exceptions=True)
        assert sorted(type(r) for r in results if r is not None) == [AdmissionRefused]

    async def test_two_controllers_may_ask_for_the_same(
        self, cluster_world: KubernetesWorld, connect: Connect
    ) -> None:
        node = cluster_world.nodes[0]
        controllers = [cluster_world.cluster, await connect()]
        await asyncio.gather(*(c.load(node, "small") for c in controllers))
        await cluster_world.until(node, "small", ReplicaState.READY)
        await asyncio.gather(*(c.drain(node, "small") for c in controllers))
        await asyncio.gather(*(c.unload(node, "small") for c in controllers))
        await cluster_world.until(node, "small", ReplicaState.ABSENT)


class TestNothingIsCut:
    async def test_a_prompt_in_flight_outlives_drain_and_unload(self, cluster_world: KubernetesWorld) -> None:
        world, node = cluster_world, cluster_world.nodes[0]
        await world.cluster.load(node, "small")
        await world.until(node, "small", ReplicaState.READY)
        prompt = world.send(node, "small", 3.0)
        await _flying(world, node, "small")
        await world.cluster.drain(node, "small")
        refused = await world.unload(node, "small")
        assert refused > 0, "unload was not held back by the prompt in flight"
        assert await asyncio.wait_for(prompt, 10) == 200
        await world.until(node, "small", ReplicaState.ABSENT)

    async def test_a_pod_deleted_by_someone_else_finishes_its_prompt(self, cluster_world: KubernetesWorld) -> None:
        """kubectl delete, a node drain: the pod gets its grace, and the grace is long enough."""
        world, node = cluster_world, cluster_world.nodes[0]
        await world.cluster.load(node, "small")
        await world.until(node, "small", ReplicaState.READY)
        prompt = world.send(node, "small", 3.0)
        await _flying(world, node, "small")
        await asyncio.to_thread(_delete_pods, world.bed)
        assert await asyncio.wait_for(prompt, 20) == 200

    async def test_a_new_controller_goes_on_where_the_last_one_died(
        self, cluster_world: KubernetesWorld, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world, node = cluster_world, cluster_world.nodes[0]
        await world.cluster.load(node, "small")
        await world.until(node, "small", ReplicaState.READY)
        prompt = world.send(node, "small", 3.0)
        await _flying(world, node, "small")
        with monkeypatch.context() as patch:
            # The first one marks the replica as draining and dies before it has told the replica.
            patch.setattr(ReplicaDoor, "drain", _dies)
            with pytest.raises(ClusterUnavailable):
                await world.cluster.drain(node, "small")
        world.cluster = await connect()
        assert (await world.cluster.observe()).state(node, "small") is ReplicaState.DRAINING
        assert (await world.state_of(node, "small"))["state"] == "ready"
        with pytest.raises(ReplicaBusy):
            await world.cluster.unload(node, "small")
        assert await world.send(node, "small", 0.05) == 503, "the replica was never told that it drains"
        await world.unload(node, "small")
        assert await asyncio.wait_for(prompt, 10) == 200
        await world.until(node, "small", ReplicaState.ABSENT)

    async def test_through_the_api_server_where_pods_are_out_of_reach(
        self, cluster_world: KubernetesWorld, connect: Connect, bed: k8s.Bed
    ) -> None:
        world, node = cluster_world, cluster_world.nodes[0]
        world.cluster = await connect(chosen=replace(settings(bed), via_proxy=True))
        await world.cluster.load(node, "small")
        await world.until(node, "small", ReplicaState.READY)
        prompt = world.send(node, "small", 2.0)
        await _flying(world, node, "small")
        await world.cluster.share(node, {"small": 2.0})
        assert (await world.state_of(node, "small"))["share"] == 2.0
        await world.cluster.drain(node, "small")
        assert await world.unload(node, "small") > 0
        assert await asyncio.wait_for(prompt, 10) == 200


class TestFailure:
    async def test_an_image_that_is_not_there(self, cluster_world: KubernetesWorld) -> None:
        world, node = cluster_world, cluster_world.nodes[0]
        await world.cluster.load(node, NO_IMAGE.id)
        facts = await world.until(node, NO_IMAGE.id, ReplicaState.FAILED)
        assert "Image" in fact(facts, node, NO_IMAGE.id).error
        await world.cluster.unload(node, NO_IMAGE.id)
        await world.until(node, NO_IMAGE.id, ReplicaState.ABSENT)

    async def test_a_load_that_dies_says_its_last_word_and_leaves_its_place(
        self, cluster_world: KubernetesWorld
    ) -> None:
        world, node = cluster_world, cluster_world.nodes[0]
        await world.cluster.load(node, "broken")
        facts = await world.until(node, "broken", ReplicaState.FAILED)
        assert "no checkpoint at /models/not-here" in fact(facts, node, "broken").error
        await world.cluster.load(node, "big")
        facts = await world.until(node, "big", ReplicaState.READY)
        assert "no checkpoint" in fact(facts, node, "broken").error
        pods = await asyncio.to_thread(_pods, world.bed)
        assert [p["metadata"]["annotations"]["edgewise.io/model"] for p in pods if _lives(p)] == ["big"]
        with pytest.raises(AdmissionRefused):
            await world.cluster.load(node, "broken")

    async def test_a_failed_load_may_be_tried_again(self, cluster_world: KubernetesWorld) -> None:
        world, node = cluster_world, cluster_world.nodes[0]
        await world.cluster.load(node, "broken")
        await world.until(node, "broken", ReplicaState.FAILED)
        await world.cluster.load(node, "broken")
        assert (await world.cluster.observe()).state(node, "broken") is ReplicaState.LOADING
        await world.until(node, "broken", ReplicaState.FAILED)

    async def test_no_node_has_the_memory_kubernetes_is_asked_for(
        self, cluster_world: KubernetesWorld, connect: Connect, bed: k8s.Bed
    ) -> None:
        world, node = cluster_world, cluster_world.nodes[0]
        world.cluster = await connect(chosen=replace(settings(bed), memory_scale=1e4, unschedulable_s=1.0))
        await world.cluster.load(node, "small")
        facts = await world.until(node, "small", ReplicaState.FAILED)
        assert fact(facts, node, "small").error.startswith("unschedulable")
        assert "memory" in fact(facts, node, "small").error


class TestTheApiServer:
    async def test_without_rights_the_error_says_which_file_grants_them(self, connect: Connect, bed: k8s.Bed) -> None:
        cluster = await connect(bed.stranger)
        for call in (cluster.observe(), cluster.load(bed.nodes[0], "small")):
            with pytest.raises(ClusterUnavailable) as caught:
                await call
            assert "forbidden" in caught.value.message
            assert "rbac.yaml" in caught.value.hint

    async def test_a_server_that_is_not_there(self, connect: Connect, bed: k8s.Bed, tmp_path: Path) -> None:
        config = yaml.safe_load(bed.account.read_text())
        config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(config))
        cluster = await connect(path)
        with pytest.raises(ClusterUnavailable) as caught:
            await cluster.observe()
        assert "127.0.0.1:1" in caught.value.where

    async def test_a_certificate_of_another_authority(self, connect: Connect, bed: k8s.Bed, tmp_path: Path) -> None:
        config = yaml.safe_load(bed.account.read_text())
        config["clusters"][0]["cluster"].pop("certificate-authority-data")
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(config))
        cluster = await connect(path)
        with pytest.raises(ClusterUnavailable) as caught:
            await cluster.observe()
        assert "TLS" in caught.value.message

    async def test_a_namespace_that_is_not_there(self, bed: k8s.Bed, connect: Connect) -> None:
        cluster = await connect(bed.admin, replace(settings(bed), namespace="edgewise-nowhere"))
        with pytest.raises(ClusterUnavailable) as caught:
            await cluster.load(bed.nodes[0], "small")
        assert "namespace" in caught.value.hint

    async def test_a_used_up_quota_refuses_the_pod_and_says_so(self, cluster_world: KubernetesWorld) -> None:
        world, node = cluster_world, cluster_world.nodes[0]
        await asyncio.to_thread(_quota, world.bed, "0")
        try:
            await world.cluster.load(node, "small")
            facts = await world.until(node, "small", ReplicaState.FAILED)
            assert "exceeded quota" in fact(facts, node, "small").error
        finally:
            await asyncio.to_thread(_quota, world.bed, "")


@pytest.mark.slow
class TestNodeLoss:
    async def test_a_node_without_power_is_not_alive_and_serves_nothing(self, cluster_world: KubernetesWorld) -> None:
        world = cluster_world
        node, other = world.nodes[-1], world.nodes[0]
        kill = k8s.tool_command(world.bed.admin, "kill-node", node.rpartition("-")[2])
        start = k8s.tool_command(world.bed.admin, "start-node", node.rpartition("-")[2])
        for place in (node, other):
            await world.cluster.load(place, "small")
        await world.until(node, "small", ReplicaState.READY)
        await world.until(other, "small", ReplicaState.READY)
        await asyncio.to_thread(_run, kill)
        try:
            facts = await world.settle(lambda f: not next(n for n in f.nodes if n.node == node).alive, 60.0)
            assert facts.state(node, "small") is ReplicaState.FAILED
            assert "not Ready" in fact(facts, node, "small").error
            assert facts.state(other, "small") is ReplicaState.READY
            assert node not in await world.cluster.replica_urls()
            with pytest.raises(ClusterUnavailable):
                await world.cluster.load(node, "other")
            with pytest.raises(ReplicaBusy):
                await world.cluster.drain(node, "small")
        finally:
            await asyncio.to_thread(_run, start)
        # Power is back: what was asked for comes back by itself, since the goal is in the API.
        await world.until(node, "small", ReplicaState.READY)
        assert await world.send(node, "small", 0.05) == 200


async def _flying(world: KubernetesWorld, node: str, model: str) -> None:
    for _ in range(200):
        if await world.in_flight(node, model) == (0, 1):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the prompt never began")


async def _dies(_door: ReplicaDoor, pod: PodAddress, model: str) -> None:
    raise ClusterUnavailable(f"died before {model} was told", where=pod.name)


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, timeout=120, capture_output=True)


def _pods(bed: k8s.Bed) -> list[dict[str, object]]:
    from kubernetes import client

    found = client.CoreV1Api(bed.client).list_namespaced_pod(bed.namespace).items
    return [bed.client.sanitize_for_serialization(p) for p in found]


def _lives(pod: dict[str, object]) -> bool:
    return "deletionTimestamp" not in pod["metadata"]


def _delete_pods(bed: k8s.Bed) -> None:
    from kubernetes import client

    client.CoreV1Api(bed.client).delete_collection_namespaced_pod(bed.namespace)


def _node_id(bed: k8s.Bed, name: str) -> str:
    from kubernetes import client

    return str(client.CoreV1Api(bed.client).read_node(name).metadata.labels[NODE])


def _quota(bed: k8s.Bed, pods: str) -> None:
    """Allows this many pods in the namespace; "" lifts the limit."""
    from kubernetes import client

    core = client.CoreV1Api(bed.client)
    if pods:
        body = {"metadata": {"name": "tight"}, "spec": {"hard": {"pods": pods}}}
        core.create_namespaced_resource_quota(bed.namespace, body)
    else:
        core.delete_namespaced_resource_quota("tight", bed.namespace)
