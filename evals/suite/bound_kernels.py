"""Loops behind the lower bound, compiled. All arrays are flat; times in run seconds, work in service seconds."""

from __future__ import annotations

import heapq
import math
from typing import Any

import numpy as np
from numba import njit

from edgewise.twin.demand import Floats, Ints


def _pooled(
    at_s: Floats, work: Floats, key: Floats, from_s: Floats, speed: Floats, shortest: bool
) -> tuple[Floats, Floats]:
    """One machine serves everything, one prompt at a time, preempting at will.

    at_s: [P] ascending; work: [P] > 0; key: [P], least first; with `shortest` the work left counts instead (SRPT).
    speed: [K] of the machine from from_s [K] on, ascending, from_s[0] at or before at_s[0].
    Returns mean busy time [P] (mean of the moments at which the prompt is worked on) and end [P], run seconds.
    A machine that stands still for ever leaves both of what remains at that moment: no later than the truth.
    """
    prompts, pieces = at_s.shape[0], from_s.shape[0]
    left, moment, end = work.copy(), np.zeros(prompts), np.zeros(prompts)
    heap = [(0.0, 0)]
    heap.clear()
    now, arrived, piece = 0.0, 0, 0
    while arrived < prompts or len(heap) > 0:
        if len(heap) == 0:
            now = max(now, at_s[arrived])
        while arrived < prompts and at_s[arrived] <= now:
            heapq.heappush(heap, (work[arrived] if shortest else key[arrived], arrived))
            arrived += 1
        while piece + 1 < pieces and from_s[piece + 1] <= now:
            piece += 1
        until = at_s[arrived] if arrived < prompts else math.inf
        if piece + 1 < pieces:
            until = min(until, from_s[piece + 1])
        if speed[piece] <= 0.0:
            if until == math.inf:
                break
            now = until
            continue
        rank, j = heapq.heappop(heap)
        finish = now + left[j] / speed[piece]
        stop = min(finish, until)
        done = left[j] if finish <= until else min(left[j], speed[piece] * (stop - now))
        moment[j] += done * 0.5 * (now + stop)
        left[j] -= done
        if finish > until:
            heapq.heappush(heap, (left[j] if shortest else rank, j))
        end[j], now = stop, stop
    for _, j in heap:
        moment[j] += left[j] * now
        end[j] = now
    return moment / work, end


def _alone(
    model: Ints, access: Ints, work: Floats, order: Ints, latency_s: Floats, s_per_kib: Floats, kib: Floats,
    pace: Floats,
) -> Floats:  # fmt: skip
    """Least latency of each prompt with the cluster to itself, [P] s: min over nodes of network + work · pace.

    order: prompts grouped by (access, model). latency_s, s_per_kib: [N, N], both ways; kib: [M]; pace: [N, M],
    seconds per second of work on a node at its best, inf where the model does not fit.
    """
    nodes = pace.shape[0]
    best = np.full(work.shape[0], math.inf)
    front = np.zeros(nodes, np.int64)
    kept, last_access, last_model = 0, -1, -1
    for j in order:
        a, m = access[j], model[j]
        if a != last_access or m != last_model:
            last_access, last_model, kept = a, m, 0
            for n in range(nodes):  # only nodes that no other beats in both network and pace can be the best
                net = latency_s[a, n] + s_per_kib[a, n] * kib[m]
                beaten = pace[n, m] == math.inf
                for k in range(kept):
                    o = front[k]
                    if latency_s[a, o] + s_per_kib[a, o] * kib[m] <= net and pace[o, m] <= pace[n, m]:
                        beaten = True
                        break
                if not beaten:
                    front[kept] = n
                    kept += 1
        for k in range(kept):
            n = front[k]
            best[j] = min(best[j], latency_s[a, n] + s_per_kib[a, n] * kib[m] + work[j] * pace[n, m])
    return best


# Wrapped by name: a decorator without types would make mypy forget the signatures of all evals.
pooled: Any = njit(cache=True, nogil=True, error_model="numpy")(_pooled)
alone: Any = njit(cache=True, nogil=True, error_model="numpy")(_alone)
