"""The one spec of ports.Cluster. An implementation subclasses ClusterSpec and provides the `cluster_world` fixture.

    class TestMyCluster(ClusterSpec):
        @pytest_asyncio.fixture
        async def cluster_world(self) -> AsyncIterator[ClusterWorld]:
            yield MyWorld(...)

Each test gets a world in which every replica is absent. Models of the world, on every node of it: `small` and
`other` fit together, `big` fits alone but not beside `small`, and `broken` fits and fails to load.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import pytest

from edgewise.control.ports import Cluster
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.errors import AdmissionRefused, ReplicaBusy, UnknownModel, UnknownNode
from edgewise.domain.model import ModelSpec
from edgewise.domain.observation import ClusterFacts, NodeFact

DONE, HANDED_BACK = 200, 503
SETTLE_S = 30.0


class ClusterWorld(Protocol):
    """What the spec needs of an implementation's surroundings.

    nodes: at least one node id. models: small, other, big, broken, in this order (see the module's text).
    long_s: seconds (speed 1.0) of a prompt that is surely still running when the next few calls are made.
    """

    cluster: Cluster
    nodes: Sequence[str]
    models: Sequence[ModelSpec]
    long_s: float

    def send(self, node: str, model: str, seconds: float) -> Awaitable[int]:
        """Starts a prompt of `seconds` on that replica at once (a task or future, not a bare coroutine); the
        result is its HTTP status: DONE, or HANDED_BACK when the replica takes no prompt."""
        ...

    async def settle(self, predicate: Callable[[ClusterFacts], bool], timeout_s: float) -> ClusterFacts:
        """Observes until the predicate holds and returns those facts; fails the test after `timeout_s`."""
        ...

    async def in_flight(self, node: str, model: str) -> tuple[int, int]:
        """(queued, in flight) at that replica, however the implementation learns it."""
        ...


class ClusterSpec:
    # --- lifecycle ------------------------------------------------------------------------------------------

    async def test_absent_loading_ready(self, cluster_world: ClusterWorld) -> None:
        world, (node, small, *_) = cluster_world, _names(cluster_world)
        assert (await world.cluster.observe()).state(node, small) is ReplicaState.ABSENT
        await world.cluster.load(node, small)
        seen = (await world.cluster.observe()).state(node, small)
        assert seen in (ReplicaState.LOADING, ReplicaState.READY)
        facts = await _until(world, node, small, ReplicaState.READY)
        assert _node(facts, node).memory_used_gib == pytest.approx(world.models[0].memory_gib)
        assert await world.send(node, small, 0.05) == DONE

    async def test_load_is_idempotent_while_loading_and_ready(self, cluster_world: ClusterWorld) -> None:
        world, (node, small, *_) = cluster_world, _names(cluster_world)
        await world.cluster.load(node, small)
        await world.cluster.load(node, small)
        before = await _until(world, node, small, ReplicaState.READY)
        await world.cluster.load(node, small)
        after = await world.cluster.observe()
        assert after.state(node, small) is ReplicaState.READY
        assert _node(after, node).memory_used_gib == _node(before, node).memory_used_gib

    async def test_two_models_share_a_node(self, cluster_world: ClusterWorld) -> None:
        world, (node, small, other, *_) = cluster_world, _names(cluster_world)
        await world.cluster.load(node, small)
        await world.cluster.load(node, other)
        await _until(world, node, small, ReplicaState.READY)
        facts = await _until(world, node, other, ReplicaState.READY)
        both = world.models[0].memory_gib + world.models[1].memory_gib
        assert _node(facts, node).memory_used_gib == pytest.approx(both)
        answers = [world.send(node, small, 0.05), world.send(node, other, 0.05)]
        assert [await a for a in answers] == [DONE, DONE]

    async def test_a_failed_load_says_why_and_is_unloaded_at_once(self, cluster_world: ClusterWorld) -> None:
        world, (node, *_, broken) = cluster_world, _names(cluster_world)
        await world.cluster.load(node, broken)
        facts = await _until(world, node, broken, ReplicaState.FAILED)
        (fact,) = (r for r in facts.replicas if (r.node, r.model) == (node, broken))
        assert fact.error
        assert _node(facts, node).memory_used_gib == pytest.approx(0.0)
        await world.cluster.unload(node, broken)
        await _until(world, node, broken, ReplicaState.ABSENT)

    # --- what is refused ------------------------------------------------------------------------------------

    async def test_a_load_that_does_not_fit_is_refused_with_the_numbers(self, cluster_world: ClusterWorld) -> None:
        world, (node, small, _, big, _) = cluster_world, _names(cluster_world)
        await world.cluster.load(node, small)
        before = await _until(world, node, small, ReplicaState.READY)
        with pytest.raises(AdmissionRefused) as refused:
            await world.cluster.load(node, big)
        budget = _node(before, node).memory_gib
        for number in (world.models[2].memory_gib, budget - world.models[0].memory_gib, budget):
            assert f"{number:g}" in refused.value.message
        after = await world.cluster.observe()
        assert after.state(node, big) is ReplicaState.ABSENT
        assert after.state(node, small) is ReplicaState.READY
        assert _node(after, node).memory_used_gib == _node(before, node).memory_used_gib

    async def test_a_loading_replica_holds_its_memory(self, cluster_world: ClusterWorld) -> None:
        world, (node, small, _, big, _) = cluster_world, _names(cluster_world)
        await world.cluster.load(node, big)
        with pytest.raises(AdmissionRefused):
            await world.cluster.load(node, small)
        await _until(world, node, big, ReplicaState.READY)

    async def test_unknown_names_are_refused(self, cluster_world: ClusterWorld) -> None:
        world, (node, small, *_) = cluster_world, _names(cluster_world)
        cluster = world.cluster
        for command in (cluster.load, cluster.drain, cluster.unload):
            with pytest.raises(UnknownModel):
                await command(node, "no-such-model")
            with pytest.raises(UnknownNode):
                await command("no-such-node", small)
        with pytest.raises(UnknownNode):
            await cluster.share("no-such-node", {small: 1.0})
        with pytest.raises(UnknownModel):
            await cluster.share(node, {"no-such-model": 1.0})

    async def test_only_a_ready_replica_is_drained(self, cluster_world: ClusterWorld) -> None:
        world, (node, small, *_) = cluster_world, _names(cluster_world)
        with pytest.raises(ReplicaBusy):
            await world.cluster.drain(node, small)
        await world.cluster.load(node, small)
        # A fast machine may be done loading by the time the drain arrives; then it is a lawful drain.
        loading = (await world.cluster.observe()).state(node, small) is ReplicaState.LOADING
        if loading:
            try:
                await world.cluster.drain(node, small)
            except ReplicaBusy:
                await _until(world, node, small, ReplicaState.READY)
            else:
                assert (await world.cluster.observe()).state(node, small) is ReplicaState.DRAINING

    async def test_a_ready_replica_is_not_unloaded(self, cluster_world: ClusterWorld) -> None:
        world, (node, small, *_) = cluster_world, _names(cluster_world)
        await world.cluster.load(node, small)
        await _until(world, node, small, ReplicaState.READY)
        with pytest.raises(ReplicaBusy):
            await world.cluster.unload(node, small)
        assert (await world.cluster.observe()).state(node, small) is ReplicaState.READY
        assert await world.send(node, small, 0.05) == DONE

    # --- drain and unload -----------------------------------------------------------------------------------

    async def test_drain_hands_back_the_queue_and_lets_the_rest_finish(self, cluster_world: ClusterWorld) -> None:
        world, (node, small, *_) = cluster_world, _names(cluster_world)
        await world.cluster.load(node, small)
        await _until(world, node, small, ReplicaState.READY)
        running = world.send(node, small, world.long_s)
        await _work(world, node, small, queued=0, in_flight=1)
        queued = world.send(node, small, 0.05)
        await _work(world, node, small, queued=1, in_flight=1)

        await world.cluster.drain(node, small)
        assert (await world.cluster.observe()).state(node, small) is ReplicaState.DRAINING
        assert await queued == HANDED_BACK
        await world.cluster.drain(node, small)
        assert await world.send(node, small, 0.05) == HANDED_BACK
        with pytest.raises(ReplicaBusy):
            await world.cluster.unload(node, small)
        assert await running == DONE

        await _work(world, node, small, queued=0, in_flight=0)
        await world.cluster.unload(node, small)
        facts = await _until(world, node, small, ReplicaState.ABSENT)
        assert _node(facts, node).memory_used_gib == pytest.approx(0.0)

    async def test_unload_makes_room(self, cluster_world: ClusterWorld) -> None:
        world, (node, small, _, big, _) = cluster_world, _names(cluster_world)
        await world.cluster.load(node, small)
        await _until(world, node, small, ReplicaState.READY)
        await world.cluster.drain(node, small)
        await world.cluster.unload(node, small)
        await _until(world, node, small, ReplicaState.ABSENT)
        await world.cluster.unload(node, small)
        await world.cluster.load(node, big)
        await _until(world, node, big, ReplicaState.READY)

    # --- shares and ages ------------------------------------------------------------------------------------

    async def test_shares_are_accepted_and_disturb_nothing(self, cluster_world: ClusterWorld) -> None:
        world, (node, small, other, *_) = cluster_world, _names(cluster_world)
        await world.cluster.load(node, small)
        await _until(world, node, small, ReplicaState.READY)
        await world.cluster.share(node, {small: 3.0, other: 0.5})
        await world.cluster.share(node, {small: 1.0})
        assert await world.send(node, small, 0.05) == DONE

    async def test_every_fact_has_its_time_and_age(self, cluster_world: ClusterWorld) -> None:
        world, (node, small, *_) = cluster_world, _names(cluster_world)
        await world.cluster.load(node, small)
        facts = await _until(world, node, small, ReplicaState.READY)
        assert {n.node for n in facts.nodes} == set(world.nodes)
        for fact in facts.nodes:
            assert fact.alive
            assert 0.0 <= fact.age_s < SETTLE_S
            assert fact.memory_gib > 0
        (replica,) = (r for r in facts.replicas if (r.node, r.model) == (node, small))
        assert 0.0 <= replica.age_s < SETTLE_S
        assert replica.since_s <= facts.at_s
        assert (await world.cluster.observe()).at_s >= facts.at_s

    async def test_nodes_are_apart(self, cluster_world: ClusterWorld) -> None:
        world, (node, small, *_) = cluster_world, _names(cluster_world)
        await world.cluster.load(node, small)
        facts = await _until(world, node, small, ReplicaState.READY)
        for elsewhere in world.nodes:
            if elsewhere != node:
                assert facts.state(elsewhere, small) is ReplicaState.ABSENT


def _names(world: ClusterWorld) -> tuple[str, str, str, str, str]:
    """The first node, and the ids of small, other, big, broken."""
    small, other, big, broken = (m.id for m in world.models)
    return world.nodes[0], small, other, big, broken


def _node(facts: ClusterFacts, node: str) -> NodeFact:
    return next(n for n in facts.nodes if n.node == node)


async def _until(world: ClusterWorld, node: str, model: str, state: ReplicaState) -> ClusterFacts:
    return await world.settle(lambda facts: facts.state(node, model) is state, SETTLE_S)


async def _work(world: ClusterWorld, node: str, model: str, *, queued: int, in_flight: int) -> None:
    """Waits until the replica has exactly this much to do."""
    for _ in range(400):
        if await world.in_flight(node, model) == (queued, in_flight):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{model} on {node} never had {queued} queued and {in_flight} in flight")
