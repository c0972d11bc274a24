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
    at = np.zeros(models, dtype=np.int64)  # place in order, per model; memory only shrinks, so passed nodes stay out

    def put(m: int) -> bool:
        while at[m] < nodes:
            n = order[at[m], m]
            at[m] += 1
            if free[n] >= need[m] - EPS:
                placed[n, m] = True
                free[n] -= need[m]
                covered[m] += speed[n]
                return True
        return False

    def entry(m: int) -> list[tuple[float, int]]:
        if at[m] >= nodes:
            return []
        return [(float(np.log(covered[m]) - scores[order[at[m], m], m]), m)]

    queue = [e for m in np.argsort(-need, kind="stable").tolist() if put(m) for e in entry(m)]
    heapq.heapify(queue)
    while queue:
        _, m = heapq.heappop(queue)
        if put(m):
            for e in entry(m):
                heapq.heappush(queue, e)
    return placed


def weights(scores: Floats, possible: Bools) -> Floats:
    """Routing weights [N, M] of scores: each model's are a softmax over the nodes where it is possible, or all 0."""
    masked = np.where(possible, scores, -np.inf)
    top = masked.max(axis=0)
    found = np.exp(masked - np.where(np.isfinite(top), top, 0.0))
    total = found.sum(axis=0)
    return np.asarray(found / np.where(total > 0, total, 1.0))
