"""Which nodes a dispatch looks at where many hold the model: all of a few, else an evenly spaced sample.

Looking at every node costs time in proportion to their number; looking at a handful drawn anew for each prompt loses
almost nothing (the power of two choices: Mitzenmacher 2001), and the access node, which costs no network, is always
among them.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from edgewise.policy.dispatch import LOADING, READY, FleetArrays, Ints, empty_fleet
from edgewise.policy.kernel import INLINE, KERNEL
from edgewise.policy.literals import yes

SAMPLE = 32  # nodes looked at where more hold the model


@njit(**INLINE)
def sample_into(
    fleet: FleetArrays, holders: Ints, held: int, access: int, model: int, uniform: float, count: int, picked: Ints
) -> None:
    """Puts `count` < `held` of the first `held` holders (nodes, ascending) into `picked`, ascending: evenly spaced
    from a random start, so none twice. The access node, if it holds the model, takes the place of the next above it.
    uniform: a draw from [0, 1)."""
    step = held / count
    start = uniform * step
    placed = fleet.state[access, model] != READY and fleet.state[access, model] != LOADING
    for i in range(count):
        n = holders[min(int(start + i * step), held - 1)]
        if not placed and (n >= access or i == count - 1):
            n, placed = access, yes()
        picked[i] = n


@njit(**KERNEL)
def candidates(
    fleet: FleetArrays, holders: Ints, held: int, access: int, model: int, uniform: float, most: int, picked: Ints
) -> int:
    """How many nodes to look at, put into `picked` [≥ most]: the holders, or a sample of `most` of them."""
    if held > most:
        sample_into(fleet, holders, held, access, model, uniform, most, picked)
        return most
    for i in range(held):
        picked[i] = holders[i]
    return held


def precompile() -> None:
    """Have the kernel compiled, or read from the cache."""
    candidates(empty_fleet(1, 1, 1), np.zeros(1, np.int64), 1, 0, 0, 0.0, SAMPLE, np.zeros(SAMPLE, np.int64))
