"""The greedy first fill: what stands before anybody knows the demand. Every policy without a placement of its own
starts from it."""

from __future__ import annotations

import numpy as np

from edgewise.optimise.problem import Bools, Floats

EPS = 1e-9


def greedy_fill(memory: Floats, speed: Floats, need: Floats) -> Bools:
    """Replicas [N, M] for nodes of `memory` [N] (GiB) and `speed` [N] and models that need `need` [M] GiB.

    First one replica of each model, the largest first, on the node with the most memory left; then, until nothing
    fits, one more of the model whose replicas have the least speed together. Ties: the lowest index. A model that
    fits nowhere any more is left out.
    """
    placed = np.zeros((len(memory), len(need)), dtype=bool)
    free = memory.astype(np.float64)
    covered = np.zeros(len(need))

    def put(m: int) -> bool:
        options = np.nonzero((free >= need[m] - EPS) & ~placed[:, m])[0]
        if not options.size:
            return False
        n = options[np.argmax(free[options])]
        placed[n, m] = True
        free[n] -= need[m]
        covered[m] += speed[n]
        return True

    for m in np.argsort(-need, kind="stable"):
        put(int(m))
    left = set(range(len(need)))
    while left:
        m = min(left, key=lambda i: (covered[i], i))
        if not put(m):
            left.remove(m)
    return placed
