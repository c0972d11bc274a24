from __future__ import annotations

from dataclasses import replace

import pytest

from edgewise.domain.cluster import NEXT_STATES, ReplicaState
from edgewise.domain.errors import AdmissionRefused, NotReady, ReplicaBusy
from serving.node import lifecycle
from serving.node.lifecycle import Life

A = Life("a", memory_gib=3.0, load_s=10.0)
B = Life("b", memory_gib=2.0, load_s=5.0)


def in_state(state: ReplicaState, since_s: float = 1.0) -> Life:
    return replace(A, state=state, since_s=since_s)


def test_the_usual_life() -> None:
    loading = lifecycle.load(A, [A, B], budget_gib=4.0, now_s=1.0)
    assert (loading.state, loading.since_s, loading.cold) == (ReplicaState.LOADING, 1.0, True)
    ready = lifecycle.loaded(loading, now_s=4.0)
    assert ready.state is ReplicaState.READY
    assert ready.load_s == 3.0  # what this load took is what the next is expected to take
    draining = lifecycle.drain(ready, now_s=9.0)
    assert draining.state is ReplicaState.DRAINING
    assert lifecycle.may_unload(draining, in_flight=0)
    assert lifecycle.unloaded(draining, now_s=10.0).state is ReplicaState.ABSENT


def test_refusal_names_needed_free_and_budget() -> None:
    loading = lifecycle.load(B, [A, B], budget_gib=4.0, now_s=0.0)
    with pytest.raises(AdmissionRefused, match=r"a needs 3 GiB; 2 GiB of the node's 4 GiB are free"):
        lifecycle.load(A, [A, loading], budget_gib=4.0, now_s=0.0)


def test_what_fits_exactly_fits() -> None:
    parts = [Life(str(i), memory_gib=0.1, load_s=1.0, state=ReplicaState.READY) for i in range(7)]
    last = Life("last", memory_gib=0.3, load_s=1.0)
    assert lifecycle.load(last, [*parts, last], budget_gib=1.0, now_s=0.0).state is ReplicaState.LOADING


def test_a_failed_replica_holds_no_memory_and_may_go_or_come_back() -> None:
    failed = lifecycle.failed(lifecycle.load(A, [A], 4.0, 0.0), "disk", 2.0)
    assert lifecycle.memory_used_gib([failed]) == 0.0
    assert failed.error == "disk"
    assert lifecycle.may_unload(failed, in_flight=0)
    again = lifecycle.load(failed, [failed], 4.0, 3.0)
    assert (again.state, again.error) == (ReplicaState.LOADING, "")


@pytest.mark.parametrize("state", [ReplicaState.LOADING, ReplicaState.READY])
def test_load_is_idempotent(state: ReplicaState) -> None:
    life = in_state(state)
    assert lifecycle.load(life, [life], budget_gib=0.0, now_s=9.0) is life


def test_a_draining_replica_is_not_loaded_over() -> None:
    with pytest.raises(ReplicaBusy):
        lifecycle.load(in_state(ReplicaState.DRAINING), [], 8.0, 0.0)


@pytest.mark.parametrize("state", [ReplicaState.ABSENT, ReplicaState.LOADING, ReplicaState.FAILED])
def test_only_a_ready_replica_is_drained(state: ReplicaState) -> None:
    with pytest.raises(ReplicaBusy, match=state):
        lifecycle.drain(in_state(state), 2.0)


@pytest.mark.parametrize("state", [ReplicaState.LOADING, ReplicaState.READY])
def test_unload_wants_a_drain(state: ReplicaState) -> None:
    with pytest.raises(ReplicaBusy, match="drain"):
        lifecycle.may_unload(in_state(state), in_flight=0)


def test_unload_waits_for_prompts_in_flight_and_is_idempotent_when_absent() -> None:
    with pytest.raises(ReplicaBusy, match="2 prompts in flight"):
        lifecycle.may_unload(in_state(ReplicaState.DRAINING), in_flight=2)
    assert not lifecycle.may_unload(A, in_flight=0)


def test_a_loading_replica_says_when_to_come_back() -> None:
    loading = in_state(ReplicaState.LOADING, since_s=1.0)
    with pytest.raises(NotReady) as caught:
        lifecycle.may_serve(loading, now_s=4.0)
    assert caught.value.retry_after_s == 7.0
    assert loading.ready_in_s(now_s=99.0) == 0.0
    with pytest.raises(NotReady) as caught:
        lifecycle.may_serve(A, now_s=0.0)
    assert caught.value.retry_after_s is None


@pytest.mark.parametrize("state", list(ReplicaState))
def test_every_step_is_one_the_domain_allows(state: ReplicaState) -> None:
    life = in_state(state)
    steps = [
        lambda: lifecycle.load(life, [life], 8.0, 2.0),
        lambda: lifecycle.drain(life, 2.0),
        lambda: lifecycle.unloaded(life, 2.0) if lifecycle.may_unload(life, 0) else life,
    ]
    for step in steps:
        try:
            after = step()
        except ReplicaBusy:
            continue
        assert after.state is state or after.state in NEXT_STATES[state]


def test_work_left_counts_the_nodes_speed_and_never_goes_below_zero() -> None:
    assert lifecycle.work_left_s(hint_s=10.0, served_s=4.0, speed=0.5) == 8.0
    assert lifecycle.work_left_s(hint_s=1.0, served_s=4.0, speed=1.0) == 0.0
