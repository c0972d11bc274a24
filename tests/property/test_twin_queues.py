"""The twin's own queues against the standard library."""

from __future__ import annotations

import heapq
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.twin.queues import first_node, pop, pop_transit, push, push_transit, set_time

FEW = settings(deadline=None, max_examples=60, derandomize=True)
# Few values, so that equal keys are common.
keys_of = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=60)


@FEW
@given(keys_of, st.data())
def test_many_skew_heaps_in_one_array_of_links_are_heapqs(keys: list[float], data: st.DataObject) -> None:
    size, heaps = len(keys), 3
    left, right, key = np.full(size, -1), np.full(size, -1), np.array(keys)
    roots, expected = [-1] * heaps, [list[tuple[float, int]]() for _ in range(heaps)]
    todo = data.draw(st.permutations(range(size)))
    while todo or any(expected):
        h = data.draw(st.integers(0, heaps - 1))
        if todo and (not expected[h] or data.draw(st.booleans())):
            p = todo.pop()
            roots[h] = push(left, right, key, roots[h], p)
            heapq.heappush(expected[h], (keys[p], p))
        elif expected[h]:
            assert roots[h] == heapq.heappop(expected[h])[1]
            roots[h] = pop(left, right, key, roots[h])
        assert all(root == (heap[0][1] if heap else -1) for root, heap in zip(roots, expected, strict=True))


@FEW
@given(keys_of, st.data())
def test_prompts_on_the_network_are_a_heapq(keys: list[float], data: st.DataObject) -> None:
    times, prompts, expected = np.zeros(len(keys)), np.zeros(len(keys), np.int64), list[tuple[float, int]]()
    todo = data.draw(st.permutations(range(len(keys))))
    while todo or expected:
        if todo and (not expected or data.draw(st.booleans())):
            p = todo.pop()
            push_transit(times, prompts, len(expected), keys[p], p)
            heapq.heappush(expected, (keys[p], p))
        else:
            assert (times[0], prompts[0]) == expected[0]
            pop_transit(times, prompts, len(expected))
            heapq.heappop(expected)
        if expected:
            assert (times[0], prompts[0]) == expected[0]


@FEW
@given(
    st.integers(1, 9), st.lists(st.tuples(st.integers(0, 8), st.sampled_from([0.0, 1.0, 2.0, math.inf])), max_size=60)
)
def test_the_tournament_knows_the_first_node(nodes: int, changes: list[tuple[int, float]]) -> None:
    leaves = 1 << max(0, (nodes - 1).bit_length())
    tree, times = np.full(2 * leaves, np.inf), np.full(nodes, np.inf)
    for node, at_s in changes:
        set_time(tree, node % nodes, at_s)
        times[node % nodes] = at_s
        assert tree[1] == times.min()
        assert first_node(tree) == int(times.argmin())
