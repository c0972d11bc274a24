"""The virtual clock and the fakes' own controls; their port semantics are in tests/contract."""

from __future__ import annotations

import asyncio

import pytest

from edgewise.domain.cluster import NodeSpec, ReplicaState
from edgewise.domain.errors import ClusterUnavailable, StoreUnavailable, TelemetryUnavailable
from edgewise.domain.model import ModelSpec, Task
from edgewise.domain.plan import Plan, Source
from edgewise.domain.world import World
from tests.support.fakes import FakeClock, FakeCluster, FakeJournal, FakeRouter, FakeTelemetry

WORLD = World(
    nodes=(NodeSpec("n1", 4.0, speed=2.0), NodeSpec("n2", 4.0)),
    models=(ModelSpec("small", Task.TEXT_GENERATION, 1.0, 1.0, load_s=3.0),),
)


async def test_advance_wakes_sleepers_in_order_at_their_time() -> None:
    clock, woken = FakeClock(), []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.now_s()))
        await clock.sleep(seconds)
        woken.append((name, clock.now_s()))

    tasks = [asyncio.create_task(sleeper("slow", 3.0)), asyncio.create_task(sleeper("fast", 1.0))]
    await clock.advance(2.5)
    assert woken == [("fast", 1.0), ("fast", 2.0)]
    assert clock.now_s() == 2.5
    await clock.advance(10)
    assert woken[2:] == [("slow", 3.0), ("slow", 6.0)]
    await asyncio.gather(*tasks)


async def test_an_automatic_clock_needs_nobody_to_advance_it() -> None:
    clock, ticks = FakeClock(auto=True), 0

    async def ticker() -> None:
        nonlocal ticks
        while True:
            await clock.sleep(1.0)
            ticks += 1

    task = asyncio.create_task(ticker())
    await clock.sleep(5.5)
    task.cancel()
    assert clock.now_s() == 5.5
    assert ticks == 5


async def test_a_dead_node_loses_its_prompts_and_returns_empty() -> None:
    clock = FakeClock()
    cluster = FakeCluster(WORLD, clock)
    cluster.put_ready("n1", "small")
    running, queued = cluster.send("n1", "small", 4.0), cluster.send("n1", "small", 4.0)
    cluster.kill("n1")
    assert (await running, await queued) == (0, 0)
    facts = await cluster.observe()
    assert [n.alive for n in facts.nodes] == [False, True]
    assert facts.replicas == ()
    with pytest.raises(ClusterUnavailable):
        await cluster.load("n1", "small")
    cluster.revive("n1")
    await cluster.load("n1", "small")
    assert (await cluster.observe()).state("n1", "small") is ReplicaState.LOADING


async def test_a_silent_nodes_facts_grow_older_until_it_counts_as_dead() -> None:
    clock = FakeClock()
    cluster = FakeCluster(WORLD, clock, dead_after_s=2.0)
    cluster.put_ready("n1", "small")
    cluster.silence("n1")
    await clock.advance(1.0)
    first = (await cluster.observe()).nodes[0]
    assert (first.alive, first.age_s) == (True, 1.0)
    await clock.advance(2.0)
    assert not (await cluster.observe()).nodes[0].alive


async def test_loads_follow_speed_and_cancelled_prompts_free_their_place() -> None:
    clock = FakeClock()
    cluster = FakeCluster(WORLD, clock)
    cluster.put_ready("n1", "small")
    first, second = cluster.send("n1", "small", 4.0), cluster.send("n1", "small", 2.0)
    await clock.advance(1.0)
    (load,) = cluster.loads()
    assert (load.queued, load.in_flight, load.work_s) == (1, 1, 4.0)
    first.cancel()
    await clock.advance(1.0)
    assert await second == 200
    assert cluster.loads()[0].in_flight == 0


async def test_router_and_journal_can_be_down() -> None:
    clock = FakeClock(auto=True)
    router, journal = FakeRouter(clock, ack_s=0.5), FakeJournal()
    plan = Plan("p1", Source.OPTIMISER, 0.0, 10.0, ())
    assert (await router.publish(plan, "d1")).at_s == 0.5
    assert router.plan == plan
    router.down = journal.down = True
    with pytest.raises(ClusterUnavailable):
        await router.publish(plan, "d2")
    with pytest.raises(StoreUnavailable):
        await journal.flush()


async def test_telemetry_that_never_answered_is_unavailable() -> None:
    telemetry = FakeTelemetry(FakeClock())
    telemetry.down = True
    with pytest.raises(TelemetryUnavailable):
        await telemetry.read()
