"""From scores to a placement: a greedy fill of the nodes' memory, and from scores to routing weights: a softmax."""

from __future__ import annotations

import heapq

import numpy as np

from edgewise.twin.demand import Bools, Floats

EPS = 1e-9


def fill(memory: Floats, need: Floats, speed: Floats, scores: Floats) -> Bools:
    """Replicas [N, M] that fit `memory` [N], 0 for a node that is down. scores [N, M].

    First one replica of each model, the largest first, where its score is best. Then, until nothing fits, one more of
    the model whose best node left has the highest score − log(speed its replicas have together): with the log of
    demand as score, speed goes to models as their demand is. Ties: the lowest index.
    """
    nodes, models = scores.shape
    placed = np.zeros((nodes, models), dtype=bool)
    free = memory.astype(np.float64)
    covered = np.zeros(models)
    order = np.argsort(-scores, axis=0, kind="stable")
    at = [0] * models  # place in order; memory only shrinks, so a node that was passed stays out

    def best(m: int) -> int:
        """The best node that m fits on, -1 for none."""
        while at[m] < nodes and free[order[at[m], m]] < need[m] - EPS:
            at[m] += 1
        return int(order[at[m], m]) if at[m] < nodes else -1

    def put(m: int, n: int) -> None:
        placed[n, m] = True
        free[n] -= need[m]
        covered[m] += speed[n]
        at[m] += 1

    def cost(m: int, n: int) -> float:
        return float(np.log(covered[m]) - scores[n, m])

    for m in np.argsort(-need, kind="stable").tolist():
        if (n := best(m)) >= 0:
            put(m, n)
    queue = [(cost(m, n), m) for m in range(models) if (n := best(m)) >= 0]
    heapq.heapify(queue)
    while queue:
        asked, m = heapq.heappop(queue)
        n = best(m)
        if n >= 0 and cost(m, n) == asked:
            put(m, n)
            n = best(m)
        if n >= 0:
            heapq.heappush(queue, (cost(m, n), m))
    return placed


def weights(scores: Floats, possible: Bools) -> Floats:
    """Routing weights [N, M] of scores: each model's are a softmax over the nodes where it is possible, or all 0."""
    masked = np.where(possible, scores, -np.inf)
    top = masked.max(axis=0)
    found = np.exp(masked - np.where(np.isfinite(top), top, 0.0))
    total = found.sum(axis=0)
    return np.asarray(found / np.where(total > 0, total, 1.0))
