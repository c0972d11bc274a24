"""What holds in every world of the twin, whatever the policy and whatever happens."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.policy.dispatch import DRIFT, LEAST_WORK, MARGINAL, ROUND_ROBIN, SLOT_WEIGHTS
from edgewise.twin.arrays import (
    COMPLETED,
    DRAIN,
    FIXED,
    HELD,
    IN_TRANSIT,
    LOAD,
    LOCAL,
    LOG_ROWS,
    NEXT_ARRIVAL,
    NODE_DOWN_ROW,
    NODE_UP_ROW,
    ON_DEMAND,
    OPEN,
    PENDING,
    READY_ROW,
    SHED,
    UNLOAD,
)
from edgewise.twin.demand import NODE_SLOW
from edgewise.twin.run import Twin
from tests.support.twin_world import Chance, Idle, RandomWorld, state_bytes, to_the_end

FEW = settings(deadline=None, max_examples=100, derandomize=True)
seeds = st.integers(0, 10**6)
placings = st.sampled_from([FIXED, ON_DEMAND, LOCAL])
dispatches = st.sampled_from([MARGINAL, ROUND_ROBIN, LEAST_WORK, SLOT_WEIGHTS, DRIFT])
chances = st.builds(
    Chance, placing=placings, dispatch=dispatches, shedding=st.booleans(), tight=st.booleans(),
    yielding=st.sampled_from([0.0, 0.5]),
)  # fmt: skip


@FEW
@given(seeds, chances)
def test_every_prompt_is_answered_once(seed: int, chance: Chance) -> None:
    """Nodes go down and come back, replicas drain, goals change: nobody is lost, nothing happens too soon."""
    world = RandomWorld(seed, chance)
    twin = world.ended()
    s, d, ph = twin.state, world.demand, world.physics
    done, shed = s.status == COMPLETED, s.status == SHED
    assert (done | shed).all()
    assert chance.shedding or done.all()
    assert (s.tally[OPEN], s.tally[HELD], s.tally[IN_TRANSIT]) == (0, 0, 0)
    for counts in (s.running, s.waiting, s.transit, s.active_count):
        assert not counts.any()
    assert (s.run_root == -1).all()
    assert (s.wait_root == -1).all()
    assert np.isfinite(s.finished_s).all()
    # Nobody runs faster than alone on his node at its fastest (factors of NODE_SLOW may speed it up).
    slowest = min((v for _, k, _, v in zip(*world.events, strict=True) if k == NODE_SLOW), default=1.0)
    fastest = ph.first_speed[s.node] / min(1.0, slowest)
    trip = world.latency_s[d.access, s.node] / 2 * (d.access != s.node)
    back = trip + ph.response_kib[d.model] * world.s_per_kib * (d.access != s.node)
    there = trip + ph.request_kib[d.model] * world.s_per_kib * (d.access != s.node)
    assert (s.started_s - d.at_s - there)[done].min(initial=0.0) > -1e-9
    assert (s.finished_s - s.started_s - d.service_s / fastest - back)[done].min(initial=0.0) > -1e-9
    assert (s.attempts[done] >= 1).all()


def accounts(twin: Twin) -> None:
    """The running sums that dispatch looks at are what the prompts say."""
    s, d = twin.state, twin.demand
    sent = (s.status == PENDING) & (s.node >= 0)
    for n, m in np.ndindex(s.running.shape):
        here = sent & (s.node == n) & (d.model == m)
        running, waiting = here & np.isfinite(s.started_s), here & ~np.isfinite(s.started_s)
        assert s.running[n, m] == running.sum()
        assert s.waiting[n, m] + s.transit[n, m] == waiting.sum()
        assert s.run_hint_s[n, m] == pytest.approx(d.hint_s[running].sum(), abs=1e-9)
        assert s.wait_hint_s[n, m] == pytest.approx(d.hint_s[waiting].sum(), abs=1e-9)
    held = (s.status == PENDING) & (s.node < 0) & (np.arange(len(d.at_s)) < s.tally[NEXT_ARRIVAL])
    assert s.tally[HELD] == s.held_count.sum() == held.sum()
    assert (s.free >= -1e-9).all()
    placed = s.fleet.state != 0
    assert s.free == pytest.approx(twin.physics.memory - (placed * twin.physics.need).sum(axis=1))
    for m in range(s.holders.shape[0]):
        holds = np.nonzero((s.fleet.state[:, m] == 1) | (s.fleet.state[:, m] == 2))[0]
        assert s.holders[m, : s.holder_count[m]].tolist() == holds.tolist()


def step_through(world: RandomWorld) -> None:
    twin = world.twin()
    controller = world.wish if world.chance.placing == FIXED else Idle()
    for number in range(400):
        controller.slot(twin, number)
        over = twin.run_until((number + 1) * world.slot_s / 3, retake=True)
        accounts(twin)
        if over:
            return
    pytest.fail("not over after many times the span of its arrivals")


@FEW
@given(
    seeds, st.builds(Chance, placing=placings, dispatch=dispatches, shedding=st.booleans(), failures=st.just(False))
)
def test_books_balance(seed: int, chance: Chance) -> None:
    step_through(RandomWorld(seed, chance))


@FEW
@given(seeds, st.builds(Chance, placing=placings, dispatch=dispatches, shedding=st.booleans()))
def test_books_balance_through_failures(seed: int, chance: Chance) -> None:
    step_through(RandomWorld(seed, chance))


@FEW
@given(seeds, chances)
def test_the_log_tells_possible_lives(seed: int, chance: Chance) -> None:
    """Replicas go absent → loading → ready → draining → absent, and memory is never exceeded in between."""
    world = RandomWorld(seed, chance)
    s = world.ended().state
    rows = int(s.tally[LOG_ROWS])
    state, used = dict[tuple[int, int], int](), np.zeros(len(world.physics.memory))
    up = np.ones(len(world.physics.memory), bool)
    before = {LOAD: None, READY_ROW: LOAD, DRAIN: READY_ROW, UNLOAD: DRAIN}
    assert (np.diff(s.log_s[:rows]) >= 0).all()
    for kind, n, m in zip(*(c[:rows].tolist() for c in (s.log_kind, s.log_node, s.log_model)), strict=True):
        if kind in (NODE_DOWN_ROW, NODE_UP_ROW):
            assert up[n] == (kind == NODE_DOWN_ROW)
            up[n], used[n] = kind == NODE_UP_ROW, 0.0
            state = {at: k for at, k in state.items() if at[0] != n}
            continue
        assert up[n]
        assert state.get((n, m)) == before[kind]
        state[n, m] = kind
        if kind == UNLOAD:
            del state[n, m]
        used[n] += world.physics.need[m] * ((kind == LOAD) - (kind == UNLOAD))
        assert used[n] <= world.physics.memory[n] + 1e-9


@FEW
@given(seeds, chances)
def test_same_seed_same_bytes(seed: int, chance: Chance) -> None:
    first, second = (RandomWorld(seed, chance).ended().state for _ in range(2))
    assert state_bytes(first) == state_bytes(second)


@FEW
@given(seeds, st.builds(Chance, placing=placings, dispatch=dispatches, shedding=st.booleans()))
def test_stops_change_nothing(seed: int, chance: Chance) -> None:
    """Looked at often or never; with a controller that does nothing, or without."""
    world = RandomWorld(seed, chance)
    standing = np.zeros_like(world.wish.goals[0])
    standing[0] = True
    once, often, watched = (world.twin(standing) for _ in range(3))
    to_the_end(once)
    first, until_s = True, 0.0
    while not often.run_until(until_s, retake=first):
        first, until_s = False, until_s + 0.7
    assert state_bytes(often.state) == state_bytes(once.state)
    # A controller's slot books what was given so far, which rounds differently.
    to_the_end(watched, Idle(), 0.7)
    assert watched.state.node.tolist() == once.state.node.tolist()
    assert watched.state.finished_s == pytest.approx(once.state.finished_s, abs=1e-9)


@FEW
@given(seeds, st.builds(Chance, placing=placings, dispatch=dispatches, network=st.just(False)))
def test_littles_law(seed: int, chance: Chance) -> None:
    """∫ N dt = Σ latency, with N as the twin counts it from outside, between any two changes."""
    world = RandomWorld(seed, chance)
    standing = np.zeros_like(world.wish.goals[0])
    standing[0] = True
    s = world.twin(standing)
    to_the_end(s)
    latency = s.state.finished_s - world.demand.at_s
    changes = np.unique(np.concatenate((world.demand.at_s, s.state.finished_s)))
    twin, area = world.twin(standing), 0.0
    for i, (since_s, until_s) in enumerate(pairwise(changes.tolist())):
        twin.run_until((since_s + until_s) / 2, retake=i == 0)
        area += twin.state.tally[OPEN] * (until_s - since_s)
    assert area == pytest.approx(latency.sum(), rel=1e-9)


@FEW
@given(
    seeds, st.builds(Chance, dispatch=dispatches, failures=st.just(False), slow=st.just(False), curves=st.just(False))
)
def test_service_given_is_service_needed(seed: int, chance: Chance) -> None:
    """Work conservation: what nodes did while busy is what their prompts needed, no more and no less."""
    world = RandomWorld(seed, chance)
    s = world.ended().state
    given = np.bincount(s.node, weights=world.demand.service_s, minlength=len(world.physics.memory))
    assert s.busy_s * world.physics.first_speed == pytest.approx(given)


@FEW
@given(seeds, st.booleans())
def test_a_node_with_work_never_idles(seed: int, stale: bool) -> None:
    """With replicas in place a node is busy exactly when one that knows a single queue would be (Lindley)."""
    chance = Chance(placing=LOCAL, failures=False, slow=False, curves=False, network=False, tight=False, stale=stale)
    world = RandomWorld(seed, chance)
    twin = world.twin(np.ones_like(world.wish.goals[0]))
    to_the_end(twin)
    d, s = world.demand, twin.state
    for n in range(len(world.physics.memory)):
        here = np.nonzero(d.access == n)[0]
        until_s, busy_s = 0.0, 0.0
        for j, p in enumerate(here.tolist()):
            takes_s = d.service_s[p] / world.physics.first_speed[n]
            until_s = max(until_s, d.at_s[p]) + takes_s
            busy_s += takes_s
            if j + 1 == len(here) or d.at_s[here[j + 1]] > until_s:  # a busy period ends
                assert s.finished_s[here[: j + 1]].max() == pytest.approx(until_s)
        assert s.busy_s[n] == pytest.approx(busy_s)


@FEW
@given(seeds, dispatches)
def test_first_come_first_served(seed: int, dispatch: int) -> None:
    """One at a time, from the same access node to the same replica: started in order of arrival."""
    world = RandomWorld(seed, Chance(dispatch=dispatch, failures=False))
    world.physics = world.physics._replace(slots=np.ones_like(world.physics.slots), memory=world.physics.memory + 1e9)
    twin = world.twin(np.ones_like(world.wish.goals[0]))
    to_the_end(twin)
    s, d = twin.state, world.demand
    for n, m, access in np.ndindex(*world.wish.goals[0].shape, len(world.physics.memory)):
        queue = (s.node == n) & (d.model == m) & (d.access == access)
        assert (np.diff(s.started_s[queue]) > 0).all()
