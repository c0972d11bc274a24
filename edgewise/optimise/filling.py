"""Water-filling of routing over a placement, compiled: how live dispatch spreads work when it goes where least is."""

from __future__ import annotations

import numpy as np
from numba import njit

from edgewise.optimise.problem import Floats, Ints
from edgewise.policy.kernel import KERNEL


@njit(**KERNEL)
def fill_model(nodes: Ints, put: Floats, level: Floats, speed: Floats, work: float) -> float:
    """Spreads `work` over `nodes` whose other work stands at level [N] (work per speed), so that the highest
    resulting level is least; into put [r]. Returns that level. Bins that stand above the water drop out until none
    does: exact, in a few passes."""
    count = nodes.shape[0]
    height, before = np.inf, count + 1
    while True:
        capacity, used, kept = 0.0, 0.0, 0
        for i in range(count):
            n = nodes[i]
            if level[n] < height:
                capacity += speed[n]
                used += speed[n] * level[n]
                kept += 1
        if kept >= before or kept == 0:  # rounding must not bring one back
            break
        before = kept
        height = (work + used) / capacity
    for i in range(count):
        n = nodes[i]
        put[i] = max(0.0, height - level[n]) * speed[n]
    return height


@njit(**KERNEL)
def fill_all(
    starts: Ints, nodes: Ints, order: Ints, work: Floats, speed: Floats, level: Floats, put: Floats, sweeps: int,
    settled: float,
) -> float:  # fmt: skip
    """Levels all models' work over their replicas, model by model in `order`, in up to `sweeps` sweeps.

    starts [M + 1] and nodes [R]: replicas by model. level [N]: work per speed, what is queued to begin with; put [R]
    starts at 0. Each step is the exact minimum of Σ load²/speed over one model's split, so that sweeps end where no
    split can be levelled further; settled: relative change of the highest level at which they stop. Returns the
    highest level of a node."""
    before = np.inf
    for _ in range(sweeps):
        for i in range(order.shape[0]):
            m = order[i]
            first, last = starts[m], starts[m + 1]
            if first == last:
                continue
            for r in range(first, last):
                level[nodes[r]] -= put[r] / speed[nodes[r]]
            fill_model(nodes[first:last], put[first:last], level, speed, work[m])
            for r in range(first, last):
                level[nodes[r]] += put[r] / speed[nodes[r]]
        highest = 0.0
        for n in range(level.shape[0]):
            highest = max(highest, level[n])
        moved = abs(before - highest)
        before = highest
        if moved <= settled * highest:
            break
    return before
