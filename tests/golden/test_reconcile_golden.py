"""Single steps of reconciliation, each solved by hand."""

from __future__ import annotations

from dataclasses import replace

from edgewise.control.keepers import keepers, published, scene
from edgewise.control.reconcile import Attempt, Command, next_commands
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.observation import ClusterFacts, NodeFact, ReplicaFact, ReplicaLoad
from edgewise.domain.plan import ANY, ChangeKind, Plan, Route
from edgewise.settings import load_settings
from tests.support.control_world import plan_of

NEED = {"small": 1.0, "large": 3.0, "huge": 5.0}
READY, LOADING, DRAINING, FAILED = (
    ReplicaState.READY, ReplicaState.LOADING, ReplicaState.DRAINING, ReplicaState.FAILED,
)  # fmt: skip
SETTINGS = load_settings(drain_deadline_s=60.0)
Place = tuple[str, str]


def facts(states: dict[Place, ReplicaState], dead: tuple[str, ...] = (), memory: float = 6.0) -> ClusterFacts:
    used = {n: sum(NEED[m] for (x, m), s in states.items() if x == n and s.holds_memory) for n in ("n1", "n2", "n3")}
    nodes = tuple(NodeFact(n, n not in dead, memory, used[n]) for n in used)
    return ClusterFacts(0.0, nodes, tuple(ReplicaFact(n, m, s, 0.0) for (n, m), s in states.items()))


def goal(*places: Place) -> Plan:
    routes = tuple(Route(ANY, m, n, 1.0) for n, m in places)
    return replace(plan_of(places), routes=routes)


def step(plan: Plan, f: ClusterFacts, acked: Plan | None = None, loads=(), now_s: float = 1.0, **more):  # type: ignore[no-untyped-def]
    commands = next_commands(plan, acked or plan, f, loads, now_s, SETTINGS, NEED, **more)
    return [(c.kind.value, c.node, c.model) for c in commands]


def test_nothing_to_do_when_fact_is_goal() -> None:
    plan = goal(("n1", "large"))
    assert step(plan, facts({("n1", "large"): READY})) == []


def test_loads_where_memory_is_free_unserved_kinds_first() -> None:
    plan = goal(("n1", "large"), ("n1", "small"), ("n2", "large"))
    done = step(plan, facts({("n2", "large"): READY}))
    assert done == [("load", "n1", "small"), ("load", "n1", "large")]


def test_a_load_waits_until_memory_is_seen_free() -> None:
    plan = goal(("n1", "huge"))
    f = facts({("n1", "large"): DRAINING})
    busy = (ReplicaLoad("n1", "large", 0, 1, 1.0),)
    assert step(plan, f, loads=busy) == []
    assert step(plan, f) == [("unload", "n1", "large")]  # the load comes when the memory is seen free
    assert step(plan, facts({})) == [("load", "n1", "huge")]


def test_a_node_that_reports_more_use_than_is_listed_is_believed() -> None:
    f = facts({})
    f = replace(f, nodes=tuple(replace(n, memory_used_gib=4.0) for n in f.nodes))
    assert step(goal(("n1", "large")), f) == []


def test_nothing_is_drained_before_the_router_acknowledged() -> None:
    before = goal(("n1", "large"), ("n2", "large"))
    after = goal(("n1", "large"))
    f = facts({("n1", "large"): READY, ("n2", "large"): READY})
    assert step(after, f, acked=before) == []
    assert next_commands(after, None, f, (), 1.0, SETTINGS, NEED) == []
    assert step(after, f, acked=after) == [("drain", "n2", "large")]


def test_make_before_break_when_there_is_room() -> None:
    plan = goal(("n2", "large"))
    old = {("n1", "large"): READY}
    assert step(plan, facts(old)) == [("load", "n2", "large")]
    assert step(plan, facts({**old, ("n2", "large"): LOADING})) == []
    assert step(plan, facts({**old, ("n2", "large"): READY})) == [("drain", "n1", "large")]


def test_the_bridge_is_routed_to_until_the_successor_is_ready() -> None:
    plan, f = goal(("n2", "large")), facts({("n1", "large"): READY, ("n2", "large"): LOADING})
    kept = keepers(scene(plan, f, NEED))
    assert kept == {("n1", "large")}
    sent = published(plan, kept)
    assert sent.id != plan.id
    assert {(r.node, r.weight) for r in sent.routes} == {("n1", 0.5), ("n2", 0.5)}
    assert published(plan, frozenset()) is plan


def test_in_the_way_and_not_the_last_goes_first() -> None:
    plan = goal(("n1", "huge"), ("n2", "large"), ("n3", "large"))
    f = facts({("n1", "large"): READY, ("n2", "large"): READY})
    assert step(plan, f) == [("drain", "n1", "large"), ("load", "n3", "large")]


def test_two_kinds_that_change_places_on_full_nodes_lose_one_at_a_time() -> None:
    plan = goal(("n2", "huge"), ("n1", "large"))
    f = facts({("n1", "huge"): READY, ("n2", "large"): READY})
    assert step(plan, f) == [("drain", "n2", "large")]
    under_way = facts({("n1", "huge"): READY, ("n2", "large"): DRAINING})
    busy = (ReplicaLoad("n2", "large", 0, 1, 1.0),)
    assert step(plan, under_way, loads=busy) == []


def test_unload_only_idle_or_past_the_deadline() -> None:
    f = facts({("n1", "large"): DRAINING})
    busy = (ReplicaLoad("n1", "large", 0, 1, 1.0),)
    assert step(goal(), f, loads=busy, now_s=59.0) == []
    assert step(goal(), f, loads=busy, now_s=61.0) == [("unload", "n1", "large")]


def test_a_draining_replica_that_is_wanted_again_is_unloaded_then_loaded() -> None:
    plan = goal(("n1", "large"))
    assert step(plan, facts({("n1", "large"): DRAINING})) == [("unload", "n1", "large")]
    assert step(plan, facts({})) == [("load", "n1", "large")]


def test_failed_loads_back_off_and_end() -> None:
    plan, f = goal(("n1", "large")), facts({("n1", "large"): FAILED})
    attempt = Attempt().failed(10.0)
    assert step(plan, f, now_s=10.5, attempts={("n1", "large"): attempt}) == []
    assert step(plan, f, now_s=11.0, attempts={("n1", "large"): attempt}) == [("load", "n1", "large")]
    for _ in range(10):
        attempt = attempt.failed(100.0)
    assert attempt.next_s <= 160.0
    assert step(plan, f, now_s=1e6, attempts={("n1", "large"): attempt}) == []


def test_the_old_replica_stays_when_its_successor_could_not_be_loaded() -> None:
    plan = goal(("n2", "large"))
    f = facts({("n1", "large"): READY, ("n2", "large"): FAILED})
    gone = Attempt(failures=99)
    assert step(plan, f, attempts={("n2", "large"): gone}) == []


def test_failed_and_not_wanted_is_cleared_away() -> None:
    assert step(goal(), facts({("n1", "large"): FAILED})) == [("unload", "n1", "large")]


def test_dead_nodes_get_no_commands() -> None:
    plan = goal(("n1", "large"), ("n2", "small"))
    assert step(plan, facts({("n1", "huge"): READY}, dead=("n1",))) == [("load", "n2", "small")]


def test_the_deployers_order_decides_between_equals() -> None:
    plan = goal(("n1", "large"), ("n1", "small"))
    assert step(plan, facts({}), order=[("n1", "small")])[0] == ("load", "n1", "small")
    assert step(plan, facts({}), order=[("n1", "large")])[0] == ("load", "n1", "large")


def test_a_command_says_why() -> None:
    commands = next_commands(goal(("n1", "large")), None, facts({}), (), 0.0, SETTINGS, NEED)
    assert commands == [Command(ChangeKind.LOAD, "n1", "large", "wanted, memory is free")]
