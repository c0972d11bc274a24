"""Reconciliation on a simulated cluster: from any state it gets to the goal, and loses nothing on the way."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.control.keepers import keepers, published, scene
from edgewise.control.reconcile import Command, next_commands
from edgewise.control.transitions import rows
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.observation import ClusterFacts, NodeFact, ReplicaFact, ReplicaLoad
from edgewise.domain.plan import ANY, ChangeKind, Plan, Route
from edgewise.settings import load_settings
from tests.support.control_world import plan_of

NODES = ("n1", "n2", "n3")
NEED = {"a": 1.0, "b": 2.5, "c": 4.0, "d": 5.0}
SETTINGS = load_settings(drain_deadline_s=1000.0)
READY, LOADING, DRAINING, FAILED, ABSENT = (
    ReplicaState.READY, ReplicaState.LOADING, ReplicaState.DRAINING, ReplicaState.FAILED, ReplicaState.ABSENT,
)  # fmt: skip
Place = tuple[str, str]
BUDGET = 6.0
LOAD_STEPS, WORK_STEPS = 3, 4


@dataclass
class Cluster:
    """Steps of a second: a load takes three, what is in flight on a draining replica ends after four."""

    states: dict[Place, ReplicaState]
    fails: set[Place]
    now_s: float = 0.0
    began: dict[Place, float] = field(default_factory=dict)
    busy: dict[Place, int] = field(default_factory=dict)

    def used(self, node: str) -> float:
        return sum(NEED[m] for (n, m), s in self.states.items() if n == node and s.holds_memory)

    def facts(self) -> ClusterFacts:
        nodes = tuple(NodeFact(n, True, BUDGET, self.used(n)) for n in NODES)
        replicas = tuple(ReplicaFact(n, m, s, self.began.get((n, m), 0.0)) for (n, m), s in self.states.items())
        return ClusterFacts(self.now_s, nodes, replicas)

    def loads(self) -> tuple[ReplicaLoad, ...]:
        return tuple(ReplicaLoad(n, m, 0, k, float(k)) for (n, m), k in self.busy.items())

    def carry_out(self, c: Command) -> None:
        place = (c.node, c.model)
        state = self.states.get(place, ABSENT)
        if c.kind is ChangeKind.LOAD:
            assert state in (ABSENT, FAILED)
            assert self.used(c.node) + NEED[c.model] <= BUDGET + 1e-9, "memory would be exceeded"
            self.states[place] = LOADING
        elif c.kind is ChangeKind.DRAIN:
            assert state is READY
            self.states[place] = DRAINING
        else:
            assert state in (DRAINING, FAILED)
            assert self.busy.get(place, 0) == 0, "a busy replica would be unloaded"
            del self.states[place]
        self.began[place] = self.now_s

    def pass_time(self) -> None:
        self.now_s += 1.0
        for place, state in list(self.states.items()):
            age_s = self.now_s - self.began.get(place, 0.0)
            if state is LOADING and age_s >= LOAD_STEPS:
                failing = place in self.fails
                self.fails.discard(place)
                self.states[place], self.began[place] = (FAILED if failing else READY), self.now_s
                self.busy[place] = 0 if failing else 1  # a load that failed serves nobody
            elif state is DRAINING and age_s >= WORK_STEPS:
                self.busy[place] = 0


@st.composite
def placements(draw: st.DrawFn, states: tuple[ReplicaState, ...]) -> dict[Place, ReplicaState]:
    out: dict[Place, ReplicaState] = {}
    for node in NODES:
        left = BUDGET
        for model in draw(st.permutations(sorted(NEED))):
            if NEED[model] <= left and draw(st.booleans()):
                out[(node, model)] = draw(st.sampled_from(states))
                left -= NEED[model]
    return out


def as_goal(places: dict[Place, ReplicaState]) -> Plan:
    routes = tuple(Route(ANY, m, n, 1.0) for n, m in places)
    return plan_of(sorted(places), routes=routes)


def needless(view_before: ClusterFacts, goal: Plan, c: Command) -> bool:
    """Whether a drain takes the last ready replica of a wanted model while its successor could come without it."""
    view = scene(goal, view_before, NEED)
    ready = Counter(m for (_, m), s in view.state.items() if s is READY)
    mine = [p for p in view.wanted if p[1] == c.model]
    if ready[c.model] > 1 or not mine:
        return False
    if any(view.state.get(p) is LOADING for p in mine):
        return True
    return any(view.free[n] >= NEED[m] - 1e-9 for n, m in mine if (n, m) in view.missing)


@settings(max_examples=120, deadline=None)
@given(
    placements((READY, LOADING, DRAINING, FAILED)),
    placements((READY,)),
    st.sets(st.tuples(st.sampled_from(NODES), st.sampled_from(sorted(NEED))), max_size=2),
)
def test_from_any_state_to_the_goal_without_loss(
    start: dict[Place, ReplicaState], wanted: dict[Place, ReplicaState], fails: set[Place]
) -> None:
    goal = as_goal(wanted)
    cluster = Cluster(dict(start), set(fails), busy={p: 1 for p, s in start.items() if s in (READY, DRAINING)})
    acked = as_goal(start)  # the router still routes everywhere
    for _ in range(150):
        facts = cluster.facts()
        to_publish = published(goal, keepers(scene(goal, facts, NEED)))
        commands = next_commands(goal, acked, facts, cluster.loads(), cluster.now_s, SETTINGS, NEED)
        routed = {(r.node, r.model) for r in acked.routes}
        for c in commands:
            if c.kind is ChangeKind.DRAIN:
                assert (c.node, c.model) not in routed, "drained while routed to"
                assert not needless(facts, goal, c), "the last ready replica was dropped needlessly"
            cluster.carry_out(c)
        acked = to_publish  # acknowledged a step later
        cluster.pass_time()
        held = {p for p, s in cluster.states.items() if s is not ABSENT}
        if held == set(wanted) and all(cluster.states[p] is READY for p in held) and not commands:
            break
    assert {p: s for p, s in cluster.states.items() if s is READY} == dict.fromkeys(wanted, READY)
    assert not [p for p, s in cluster.states.items() if s is not READY]


@settings(max_examples=80, deadline=None)
@given(placements(tuple(ReplicaState)), placements(tuple(ReplicaState)), st.sets(st.sampled_from(NODES)))
def test_steps_seen_are_steps_a_replica_can_take(
    before: dict[Place, ReplicaState], after: dict[Place, ReplicaState], asked: set[str]
) -> None:
    """Rows between any two looks form a walk of the lifecycle that ends in the state seen last."""
    old, new = Cluster(before, set()).facts(), Cluster(after, set(), now_s=5.0).facts()
    drained = {p for p in before if p[0] in asked}
    got = rows(old, new, {}, drained)
    for place in set(before) | set(after):
        kinds = [r.kind for r in got if (r.node, r.model) == place]
        was, now = before.get(place, ABSENT), after.get(place, ABSENT)
        if was is now:
            assert kinds == []
        shows = {LOADING: "load", READY: "ready", DRAINING: "drain", FAILED: "failed"}
        if was is not now and now in shows:
            assert kinds[-1] == shows[now]
        if was is READY and now is ABSENT:
            assert kinds == (["drain", "unload"] if place in drained else ["failed"])
