"""Prices of the pooled machine's time, for the lower bound under shedding. Compiled loops on flat arrays.

Any price λ(t) ≥ 0 gives a true bound; a good one is high when the machine is busy with short prompts. Here it is
made so that the prompts of a given schedule would not move: on a stretch in which j runs, λ(t) = π_j − t/w_j, with
π_j what j would pay at the best later moment. Built backwards in time; the best later moment is found on the lower
convex hull of the points (t, λ(t)) met so far.
"""

from __future__ import annotations

import heapq
import math
from typing import Any

import numpy as np
from numba import njit

from edgewise.twin.demand import Floats, Ints


def _stretches(at_s: Floats, work: Floats, from_s: Floats, speed: Floats) -> tuple[Floats, Floats, Floats, Ints]:
    """(begin_s, end_s, speed, prompt), each [S]: who is served when, the shortest whole prompt first, preempting.

    at_s: [B] ascending; work: [B] > 0; speed: [K] of the machine from from_s [K] on.
    """
    prompts, pieces = at_s.shape[0], from_s.shape[0]
    most = 2 * prompts + pieces + 1
    begin, end, pace, who = np.zeros(most), np.zeros(most), np.zeros(most), np.zeros(most, np.int64)
    left = work.copy()
    heap = [(0.0, 0)]
    heap.clear()
    now, arrived, piece, made = 0.0, 0, 0, 0
    while arrived < prompts or len(heap) > 0:
        if len(heap) == 0:
            now = max(now, at_s[arrived])
        while arrived < prompts and at_s[arrived] <= now:
            heapq.heappush(heap, (work[arrived], arrived))
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
        begin[made], end[made], pace[made], who[made] = now, stop, speed[piece], j
        made += 1
        left[j] -= speed[piece] * (stop - now)
        if finish > until:
            heapq.heappush(heap, (rank, j))
        now = stop
    return begin[:made], end[:made], pace[:made], who[:made]


def _push(hull_t: Floats, hull_p: Floats, size: int, t: float, p: float) -> int:
    """Adds a point left of all others to a lower convex hull, whose leftmost point is the last. Returns its size."""
    while size > 0 and hull_t[size - 1] <= t and hull_p[size - 1] >= p:
        size -= 1  # at the same moment, and no cheaper
    while size > 1:
        rise = (hull_p[size - 1] - p) * (hull_t[size - 2] - t)
        if rise < (hull_p[size - 2] - p) * (hull_t[size - 1] - t):
            break
        size -= 1
    hull_t[size], hull_p[size] = t, p
    return size + 1


def _cheapest(hull_t: Floats, hull_p: Floats, size: int, rho: float) -> float:
    """Least of ρ·t + λ over the points of a hull."""
    low, high = 0, size - 1  # the sum falls from the first (latest) point to the least, and rises after it
    while low < high:
        middle = (low + high) // 2
        here = rho * hull_t[middle] + hull_p[middle]
        if rho * hull_t[middle + 1] + hull_p[middle + 1] <= here:
            low = middle + 1
        else:
            high = middle
    return float(rho * hull_t[low] + hull_p[low])


def _priced(
    at_s: Floats, work: Floats, cap_s: Floats, kept: Ints, begin: Floats, end: Floats, pace: Floats, who: Ints
) -> tuple[Floats, Floats, float]:
    """Prices from a schedule, and what each prompt pays under them.

    at_s, work: [B] of all prompts, ascending in time. cap_s: [B] what a prompt pays at most before it would rather
    be shed, s. kept: [G] those of the schedule, whose stretches begin, end, pace, who (index into kept) are [S].
    Returns (delay [B], wanted [B], bill): min over t ≥ at of (t − at) + work·λ(t), s; the same for the kept ones
    before their cap; and ∫ speed·λ dt.
    """
    prompts, stretches = at_s.shape[0], begin.shape[0]
    delay, wanted = np.zeros(prompts), np.zeros(prompts)
    limit = np.full(prompts, -1.0)
    hull_t, hull_p = np.zeros(2 * stretches + 2 * prompts + 4), np.zeros(2 * stretches + 2 * prompts + 4)
    size, bill, k = 0, 0.0, prompts - 1
    for i in range(stretches - 1, -1, -1):
        s, e, j = begin[i], end[i], kept[who[i]]
        rho = 1.0 / work[j]
        if i == stretches - 1 or begin[i + 1] > e:  # idle, or out of order, from e on: time is free
            while k >= 0 and at_s[k] >= e:
                k -= 1  # pays nothing
            size = _push(hull_t, hull_p, 0, e, 0.0)
        if limit[j] < 0.0:
            found = _cheapest(hull_t, hull_p, size, rho)
            wanted[j] = (found - rho * at_s[j]) * work[j]
            limit[j] = min(found, rho * (at_s[j] + cap_s[j]))
        at_end, at_begin = max(limit[j] - rho * e, 0.0), max(limit[j] - rho * s, 0.0)
        if at_end > 0.0:
            bill += pace[i] * (at_end + at_begin) / 2 * (e - s)
            size = _push(hull_t, hull_p, size, e, at_end)
        else:
            free = min(max(limit[j] / rho, s), e)
            bill += pace[i] * at_begin / 2 * (free - s)
            size = _push(hull_t, hull_p, size, e, 0.0)
            size = _push(hull_t, hull_p, size, free, 0.0)
        while k >= 0 and at_s[k] >= s:
            price = max(limit[j] - rho * at_s[k], 0.0)
            size = _push(hull_t, hull_p, size, at_s[k], price)
            delay[k] = (_cheapest(hull_t, hull_p, size, 1.0 / work[k]) - at_s[k] / work[k]) * work[k]
            k -= 1
        size = _push(hull_t, hull_p, size, s, at_begin)
    return delay, wanted, bill


_compiled = njit(cache=True, nogil=True, error_model="numpy")
_push = _compiled(_push)
_cheapest = _compiled(_cheapest)
stretches: Any = _compiled(_stretches)
priced: Any = _compiled(_priced)
