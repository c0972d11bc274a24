"""Placement for the fluid bound: enough speed for each model, whatever queues do. Takes well under a second at 2,000
nodes and 50 models.

The pooled bound: all nodes together work off all demand at utilisation u = Σ rate·service / Σ speed, and no routing
over any placement brings the busiest node below that. `gap` is how far a placement is above it.
"""

from __future__ import annotations

import numpy as np

from edgewise.optimise.problem import Bools, Floats, Problem
from edgewise.optimise.weights import levelled

EPS = 1e-9
EXACT_SWEEPS, EXACT = 400, 1e-7
# Repair looks at levels to this precision, and is content this far above the pooled bound.
REPAIR_SWEEPS, CONTENT = 4, 0.002


def pooled(p: Problem, rates: Floats) -> float:
    """Utilisation if all speed were one pool and all memory everywhere; what is queued not counted."""
    return float((np.maximum(rates, 1e-9) * p.service).sum() / p.speed.sum())


def gap(p: Problem, placement: Bools, rates: Floats) -> float:
    """Relative distance of the busiest node's utilisation, after exact water-filling of routing over the placement,
    from the pooled bound. Work of a model that stands nowhere makes it infinite."""
    if not placement.any(axis=0).all():
        return float("inf")
    _, level = levelled(p, placement, rates, EXACT_SWEEPS, EXACT)
    return float(level.max() / pooled(p, rates) - 1)


def pack(p: Problem, rates: Floats) -> Bools:
    """A placement from nothing. The largest models first; each fills node after node up to the pooled utilisation,
    so that a node is shared by few, and begins on nodes that are begun already, the smallest that hold it first."""
    here = np.zeros((len(p.nodes), len(p.models)), dtype=bool)
    work = np.maximum(rates, 1e-9) * p.service
    spare = pooled(p, rates) * p.speed * (1 + 1e-9)
    full, free = spare.copy(), p.memory.copy()
    for m in np.lexsort((-work, -p.need)):
        left = work[m]
        fits = (free >= p.need[m] - EPS) & ~p.banned[:, m]
        begun = fits & (spare < full) & (spare > EPS)
        fresh = fits & (spare >= full)
        for n in [*_by_memory(p, begun), *_by_memory(p, fresh)]:
            if left <= EPS and here[:, m].any():
                break
            here[n, m] = True
            free[n] -= p.need[m]
            taken = min(left, spare[n])
            left -= taken
            spare[n] -= taken
        if not here[:, m].any() and fits.any():
            n = np.nonzero(fits)[0][np.argmax(free[fits])]
            here[n, m], free[n] = True, free[n] - p.need[m]
    return here


def spread(p: Problem, here: Bools, rates: Floats) -> Bools:
    """The placement with spare memory filled: again and again one more replica of the model that has least speed for
    its work, on the node with the most memory left."""
    out, free = here.copy(), p.memory - (here * p.need).sum(axis=1)
    work = np.maximum(rates, 1e-9) * p.service
    covered = (out * p.speed[:, None]).sum(axis=0)
    hunger = work / np.maximum(covered, EPS)
    closed = np.zeros(len(work), dtype=bool)
    while not closed.all():
        m = int(np.argmax(np.where(closed, -np.inf, hunger)))
        options = np.where(out[:, m] | p.banned[:, m] | (free < p.need[m] - EPS), -1.0, free)
        n = int(np.argmax(options))
        if options[n] < 0:
            closed[m] = True
            continue
        out[n, m] = True
        free[n] -= p.need[m]
        covered[m] += p.speed[n]
        hunger[m] = work[m] / covered[m]
    return out


def repair(p: Problem, here: Bools, rates: Floats, fixed: Bools, most: int) -> Bools:
    """The placement with up to `most` loads and drops that bring the busiest nodes down: each time one more replica
    of the model whose replicas stand highest, on the least busy node that has room, or where others can go that have
    more replicas and stand lower. Stops when that helps no more. fixed: replicas that must stay."""
    best, used = here, 0
    target = pooled(p, rates) * (1 + CONTENT)
    work = np.maximum(rates, 1e-9) * p.service
    for _ in range(most):
        _, level = levelled(p, best, rates, REPAIR_SWEEPS)
        height = np.where(best, level[:, None], np.inf).min(axis=0)
        hungry = [m for m in np.argsort(-height) if height[m] > target and work[m] > 1e-6][:3]
        for m in hungry:
            found = _make_place(p, best, int(m), level, height, fixed, most - used)
            if found is not None:
                used += int((found != best).sum())
                best = found
                break
        else:
            break
    return best


def _by_memory(p: Problem, mask: Bools) -> list[int]:
    nodes = np.nonzero(mask)[0]
    return [int(n) for n in nodes[np.argsort(p.memory[nodes], kind="stable")]]


def _make_place(
    p: Problem, here: Bools, m: int, level: Floats, height: Floats, fixed: Bools, left: int
) -> Bools | None:
    """The placement with m on the least busy node where it can stand; None when it can nowhere."""
    free = p.memory - (here * p.need).sum(axis=1)
    count = here.sum(axis=0)
    open_to = ~here[:, m] & ~p.banned[:, m] & (p.memory >= p.need[m] - EPS) & (level < height[m] * (1 - CONTENT))
    for n in np.nonzero(open_to)[0][np.argsort(level[open_to], kind="stable")][:64]:
        out, room, spent = here.copy(), free[n], 1
        out[n, m] = True
        # Those with the most spare replicas go first; nobody's last, and nobody that stands as high.
        for other in sorted(np.nonzero(here[n])[0], key=lambda k: height[k]):
            if room >= p.need[m] - EPS:
                break
            if count[other] > 1 and not fixed[n, other] and height[other] < height[m] * (1 - CONTENT):
                out[n, other] = False
                room += p.need[other]
                spent += 1
        if room >= p.need[m] - EPS and spent <= left:
            return out
    return None
