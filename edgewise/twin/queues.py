"""The queues of the twin: heaps whose links live in the prompts' own arrays, and a tournament of the nodes.

Skew heap (Sleator, Tarjan: Self-adjusting heaps, 1986): one array of links serves any number of heaps, as a prompt
is in one at a time. Equal keys: the lower prompt first.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from edgewise.policy.kernel import INLINE, KERNEL
from edgewise.twin.demand import Floats, Ints


@njit(**INLINE)
def _before(key: Floats, a: int, b: int) -> bool:
    return bool(key[a] < key[b] or (key[a] == key[b] and a < b))


@njit(**KERNEL)
def meld(left: Ints, right: Ints, key: Floats, a: int, b: int) -> int:
    """The root of two heaps joined."""
    if a < 0:
        return b
    if b < 0:
        return a
    if _before(key, b, a):
        a, b = b, a
    root, parent = a, a
    # Down the right spines: the smaller root stays, its children change sides, its old right side goes on.
    rest = right[parent]
    right[parent] = left[parent]
    while rest >= 0:
        if _before(key, rest, b):
            rest, b = b, rest
        left[parent] = b
        parent = b
        b = rest
        rest = right[parent]
        right[parent] = left[parent]
    left[parent] = b
    return root


@njit(**INLINE)
def push(left: Ints, right: Ints, key: Floats, root: int, p: int) -> int:
    """The root after p, whose key is set, joined."""
    left[p] = -1
    right[p] = -1
    return meld(left, right, key, root, p)


@njit(**INLINE)
def pop(left: Ints, right: Ints, key: Floats, root: int) -> int:
    """The root after the first has gone."""
    return meld(left, right, key, left[root], right[root])


@njit(**INLINE)
def set_time(tree: Floats, n: int, at_s: float) -> None:
    """The next event of node n; the tree's inner places hold the least below them, place 1 the least of all."""
    i = tree.shape[0] // 2 + n
    tree[i] = at_s
    while i > 1:
        i //= 2
        a, b = tree[2 * i], tree[2 * i + 1]
        least = a if a <= b else b
        if tree[i] == least:
            break
        tree[i] = least


@njit(**INLINE)
def first_node(tree: Floats) -> int:
    """The node of the least time, the lowest of equals."""
    half = tree.shape[0] // 2
    i = 1
    while i < half:
        i *= 2
        if tree[i] > tree[i + 1]:
            i += 1
    return i - half


@njit(**KERNEL)
def push_transit(times: Floats, prompts: Ints, size: int, at_s: float, p: int) -> None:
    """Binary heap of `size` (time, prompt) pairs, one added."""
    i = size
    while i > 0:
        up = (i - 1) // 2
        if times[up] < at_s or (times[up] == at_s and prompts[up] < p):
            break
        times[i], prompts[i] = times[up], prompts[up]
        i = up
    times[i], prompts[i] = at_s, p


@njit(**KERNEL)
def pop_transit(times: Floats, prompts: Ints, size: int) -> None:
    """The first of `size` pairs removed."""
    last = size - 1
    at_s, p = times[last], prompts[last]
    i = 0
    while True:
        down = 2 * i + 1
        if down >= last:
            break
        other = down + 1
        if other < last and (
            times[other] < times[down] or (times[other] == times[down] and prompts[other] < prompts[down])
        ):
            down = other
        if at_s < times[down] or (at_s == times[down] and p < prompts[down]):
            break
        times[i], prompts[i] = times[down], prompts[down]
        i = down
    times[i], prompts[i] = at_s, p


def precompile() -> None:
    left, right, key = np.full(2, -1), np.full(2, -1), np.zeros(2)
    meld(left, right, key, 0, 1)
