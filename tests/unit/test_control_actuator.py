"""The actuator over in-memory ports: transactions, failures of doors, rows."""

from __future__ import annotations

from dataclasses import replace

from edgewise.control.actuator import Actuator
from edgewise.control.reconcile import MAX_TRIES
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.plan import ANY, Plan, Route, Share
from tests.support.control_world import plan_of, seven, short_settings
from tests.support.fakes import FakeClock, FakeCluster, FakeJournal, FakeRouter, FakeTelemetry

Place = tuple[str, str]


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cluster = FakeCluster(seven(), self.clock)
        self.telemetry = FakeTelemetry(self.clock, cluster=self.cluster)
        self.router, self.journal = FakeRouter(self.clock), FakeJournal()
        self.actuator = Actuator(
            self.cluster, self.telemetry, self.router, self.journal, self.clock, seven(), short_settings()
        )

    async def ticks(self, count: int) -> None:
        for _ in range(count):
            await self.actuator.tick()
            await self.clock.advance(0.5)

    def log(self, kind: str) -> list[tuple[object, object]]:
        return [(n, m) for k, n, m in self.cluster.commands if k == kind]

    def rows(self) -> list[tuple[str, str, str | None]]:
        return [(r.kind, r.model, r.decision) for r in self.journal.replicas if r.model]


def goal(*places: Place, name: str = "p-1") -> Plan:
    routes = tuple(Route(ANY, m, n, 1.0) for n, m in places)
    return plan_of(places, name, routes=routes, shares=tuple(Share(n, m, 0.5) for n, m in places))


async def test_a_goal_is_published_at_once_and_carried_out() -> None:
    b = Bench()
    await b.actuator.tick()
    assert await b.actuator.set_goal(goal(("edge-1", "gpt2")), "d-1")
    assert b.router.plan is not None
    assert b.router.plan.id == "p-1"
    await b.ticks(5)
    assert b.log("load") == [("edge-1", "gpt2")]
    assert b.cluster.shares("edge-1") == {"gpt2": 0.5}
    assert b.rows() == [("load", "gpt2", "d-1"), ("ready", "gpt2", "d-1")]


async def test_a_move_is_made_before_it_is_broken_and_each_step_has_its_decision() -> None:
    b = Bench()
    await b.actuator.set_goal(goal(("edge-1", "blip")), "d-1")
    await b.ticks(4)
    await b.actuator.set_goal(goal(("edge-2", "blip"), name="p-2"), "d-2")
    assert b.router.plan is not None
    assert b.router.plan.id.startswith("p-2+")  # the old replica is routed to until the new one is ready
    assert {r.node for r in b.router.plan.routes} == {"edge-1", "edge-2"}
    await b.ticks(6)
    assert b.router.plan.id == "p-2"
    later = [r for r in b.rows() if r[2] == "d-2"]
    assert later == [
        ("load", "blip", "d-2"),
        ("ready", "blip", "d-2"),
        ("drain", "blip", "d-2"),
        ("unload", "blip", "d-2"),
    ]
    facts = await b.cluster.observe()
    assert [(r.node, r.state) for r in facts.replicas] == [("edge-2", ReplicaState.READY)]


async def test_without_an_acknowledgement_nothing_is_drained() -> None:
    b = Bench()
    await b.actuator.set_goal(goal(("edge-1", "blip"), ("edge-2", "blip")), "d-1")
    await b.ticks(4)
    b.router.down = True
    assert not await b.actuator.set_goal(goal(("edge-1", "blip"), name="p-2"), "d-2")
    await b.ticks(3)
    assert b.log("drain") == []
    assert "does not answer" in b.actuator.problems["router"]
    b.router.down = False
    await b.ticks(3)
    assert b.log("drain") == [("edge-2", "blip")]
    assert "router" not in b.actuator.problems


async def test_a_prompt_in_flight_is_never_cut() -> None:
    b = Bench()
    await b.actuator.set_goal(goal(("edge-1", "blip"), ("edge-2", "blip")), "d-1")
    await b.ticks(4)
    answer = b.cluster.send("edge-2", "blip", 5.0)
    await b.actuator.set_goal(goal(("edge-1", "blip"), name="p-2"), "d-2")
    await b.ticks(4)
    assert not answer.done()
    assert b.log("unload") == []
    await b.ticks(10)
    assert answer.result() == 200
    assert b.log("unload") == [("edge-2", "blip")]


async def test_a_load_that_fails_is_tried_again_then_given_up_and_said() -> None:
    b = Bench()
    await b.actuator.set_goal(goal(("edge-1", "blip")), "d-1")
    for _ in range(200):
        b.cluster.break_load("edge-1", "blip", "damaged")
        await b.ticks(1)
    assert len(b.log("load")) == MAX_TRIES
    assert b.actuator.given_up == ("blip could not be loaded on edge-1",)
    failed = [r for r in b.journal.replicas if r.kind == "failed"]
    assert {r.detail for r in failed} == {"damaged"}


async def test_a_dead_cluster_door_is_survived() -> None:
    b = Bench()
    await b.actuator.set_goal(goal(("edge-1", "blip")), "d-1")
    b.cluster.down = True
    await b.ticks(3)
    assert "cluster" in b.actuator.problems
    b.cluster.down = False
    await b.ticks(4)
    assert b.log("load") == [("edge-1", "blip")]


async def test_a_node_that_dies_takes_its_replicas_and_comes_back_empty() -> None:
    b = Bench()
    await b.actuator.set_goal(goal(("edge-1", "blip")), "d-1")
    await b.ticks(4)
    b.cluster.kill("edge-1")
    await b.ticks(1)
    b.cluster.revive("edge-1")
    await b.ticks(4)
    kinds = [(r.kind, r.node) for r in b.journal.replicas if r.node == "edge-1"][3:]
    assert kinds == [
        ("node-down", "edge-1"), ("failed", "edge-1"), ("node-up", "edge-1"), ("load", "edge-1"), ("ready", "edge-1"),
    ]  # fmt: skip
    assert b.cluster.shares("edge-1") == {"blip": 0.5}


async def test_paused_it_only_looks() -> None:
    b = Bench()
    await b.actuator.set_goal(goal(("edge-1", "blip")), "d-1")
    b.actuator.pause()
    await b.ticks(3)
    assert b.cluster.commands == []
    assert b.actuator.facts is not None


async def test_the_lease_is_renewed_with_the_same_plan() -> None:
    b = Bench()
    plan = goal(("edge-1", "blip"))
    await b.actuator.set_goal(plan, "d-1")
    await b.actuator.set_goal(replace(plan, expires_s=2000.0), "d-2")
    assert [p.expires_s for p, _ in b.router.published] == [1000.0, 2000.0]


async def test_a_place_that_is_to_wait_is_not_touched_before_and_does_not_wait_twice() -> None:
    b = Bench()
    await b.actuator.tick()
    place = ("edge-1", "gpt2")
    await b.actuator.set_goal(goal(place, ("edge-2", "blip")), "d-1", [place], {place: 2.0})
    await b.ticks(3)
    assert b.log("load") == [("edge-2", "blip")]
    await b.actuator.set_goal(goal(place, ("edge-2", "blip")), "d-2", [place], {place: 2.0})
    await b.ticks(3)
    assert b.log("load") == [("edge-2", "blip"), place]
