"""A model's queue: long prompts let short ones pass but do not starve, and a greedy tenant waits for itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.policy.fair import MOST_TENANTS, FairQueue
from edgewise.policy.order import queue_key


def served(queue: FairQueue[str]) -> list[str]:
    return queue.take_all()


def test_a_long_prompt_lets_short_ones_pass_but_no_longer_than_its_size_says() -> None:
    queue: FairQueue[str] = FairQueue()
    yielding = 20.0
    queue.push("long", queue_key(0.0, 10.0, yielding), 10.0)  # key 200
    queue.push("short soon", queue_key(100.0, 1.0, yielding), 1.0)  # key 120
    queue.push("short late", queue_key(181.0, 1.0, yielding), 1.0)  # key 201
    assert served(queue) == ["short soon", "long", "short late"]


def test_without_yielding_first_come_is_first_served() -> None:
    queue: FairQueue[str] = FairQueue()
    for i, size in enumerate((9.0, 1.0, 5.0)):
        queue.push(str(i), queue_key(float(i), size, 0.0), size)
    assert served(queue) == ["0", "1", "2"]


def test_equal_keys_keep_their_order() -> None:
    queue: FairQueue[str] = FairQueue()
    for name in "abc":
        queue.push(name, 1.0, 1.0)
    assert served(queue) == ["a", "b", "c"]


def _waits(small_alone: bool) -> list[float]:
    """One server. A small tenant sends a prompt of 1 s each 4 s, a greedy one 200 of them at once."""
    queue: FairQueue[tuple[str, float]] = FairQueue()
    if not small_alone:
        for _ in range(200):
            queue.push(("greedy", 0.0), 0.0, 1.0, "greedy")
    arrivals = [4.0 * k + 0.5 for k in range(20)]
    waits, now_s = [], 0.0
    while arrivals or len(queue):
        while arrivals and arrivals[0] <= now_s:
            queue.push(("small", arrivals[0]), arrivals[0], 1.0, "small")
            arrivals.pop(0)
        item = queue.pop()
        if item is None:
            now_s = arrivals[0]
            continue
        if item[0] == "small":
            waits.append(now_s - item[1])
        now_s += 1.0
    return waits


def test_a_greedy_tenant_does_not_make_a_small_one_wait() -> None:
    alone, beside = _waits(small_alone=True), _waits(small_alone=False)
    assert max(alone) == 0.0
    assert len(beside) == 20
    # At half the server, its fair part, nobody would be before it; it waits for the prompt that runs, and no more.
    assert max(beside) <= 1.0


def test_weights_divide_the_server() -> None:
    queue: FairQueue[str] = FairQueue({"gold": 3.0})
    for _ in range(40):
        queue.push("gold", 0.0, 1.0, "gold")
        queue.push("iron", 0.0, 1.0, "iron")
    first = [queue.pop() for _ in range(40)]
    assert first.count("gold") == pytest.approx(30, abs=1)
    queue.weigh({"iron": 9.0})
    after = [queue.pop() for _ in range(8)]
    assert after.count("iron") >= 6


def test_idleness_earns_no_credit() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(100):
        queue.push("busy", 0.0, 1.0, "busy")
    for _ in range(50):
        queue.pop()
    for _ in range(20):
        queue.push("back", 0.0, 1.0, "back")
    assert [queue.pop() for _ in range(10)].count("back") in (5, 6)


def test_more_tenants_than_places_still_get_served() -> None:
    queue: FairQueue[str] = FairQueue()
    for round_ in range(3):
        for i in range(3 * MOST_TENANTS):
            queue.push(f"{round_}-{i}", 0.0, 1.0, f"tenant-{i}")
    assert len(served(queue)) == 9 * MOST_TENANTS
    queue.push("x", 0.0, 1.0, "another")
    assert queue.pop() == "x"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 9), st.booleans()), max_size=40))
def test_nothing_is_lost_or_served_twice(pushes: list[tuple[str, float, bool]]) -> None:
    queue: FairQueue[object] = FairQueue()
    items = [object() for _ in pushes]
    for item, (tenant, key, _) in zip(items, pushes, strict=True):
        queue.push(item, key, key, tenant)
    gone = [item for item, (_, _, leaves) in zip(items, pushes, strict=True) if leaves and queue.remove(item)]
    assert len(queue) == len(items) - len(gone) == len(list(queue))
    got = queue.take_all()
    assert {id(x) for x in got} == {id(x) for x in items} - {id(x) for x in gone}
    assert len(got) == len(items) - len(gone)
    assert len(queue) == 0
    assert not queue.remove(object())
