"""Placement search: greedy fill, then local search by add, drop, move and exchange, within a budget of counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from edgewise.domain.plan import Plan
from edgewise.optimise.estimate import Evaluate, Score
from edgewise.optimise.problem import Bools, Floats, Problem

# Beyond this many neighbours a step looks at a random sample of them.
SAMPLE = 64
# So many samples in a row without a better neighbour end the search: there is hardly one left.
MISSES = 4
# Placements with more places than this have too many neighbours to list.
LISTED = 120
LEAST_GAIN = 1e-4

# A plan (weights and shares included) for a placement.
Planner = Callable[[Bools], Plan]


@dataclass(frozen=True)
class Limits:
    """base: the placement changes are counted from (the incumbent's); most: largest number of loads + drops from it
    (None: any); fixed: replicas never to be dropped (loading, or fresh)."""

    base: Bools
    fixed: Bools
    most: int | None = None

    def allow(self, here: Bools) -> bool:
        if (self.fixed & ~here).any():
            return False
        return self.most is None or int((here != self.base).sum()) <= self.most


@dataclass(frozen=True)
class Found:
    placement: Bools
    score: float
    evaluated: int


def fits(p: Problem, here: Bools) -> bool:
    return bool(((here * p.need).sum(axis=1) <= p.memory + 1e-9).all())


def cover(p: Problem, here: Bools) -> Bools:
    """The placement with a replica added for each model that has none and fits somewhere, largest first, on the
    node that it fills best; where a load has failed only when nothing else is left."""
    out = here.copy()
    for m in np.argsort(-p.need, kind="stable"):
        if out[:, m].any():
            continue
        left = p.memory - (out * p.need).sum(axis=1) - p.need[m]
        at = np.nonzero(left >= -1e-9)[0]
        if at.size:
            order = np.lexsort((at, left[at], -p.speed[at], p.banned[at, m], ~p.held[at, m]))
            out[at[order[0]], m] = True
    return out


def fill_memory(p: Problem, here: Bools, limits: Limits, score: Score, tolerance: float = 0.0) -> Found:
    """Adds the replica that helps most until none helps or fits. Bounded by the number of places.

    tolerance: relative loss at which a replica is still added. Fixed weights see less in a spare replica than
    dispatch by live state does, and one more stands ready when a node dies or demand shifts.
    """
    best = _best([here], score)
    evaluated = 1
    for _ in range(here.size):
        options = [o for o in _adds(p, best.placement) if limits.allow(o)][:SAMPLE]
        if not options:
            break
        found = _best(options, score)
        evaluated += len(options)
        if found.score >= best.score + (tolerance or -LEAST_GAIN) * abs(best.score):
            break
        best = found
    return Found(best.placement, best.score, evaluated)


def search(
    p: Problem,
    start: Bools,
    limits: Limits,
    score: Score,
    steps: int,
    rng: np.random.Generator,
) -> Found:
    """Steepest descent from `start` over add (evicting what is in the way), drop, move and exchange. Stops at a
    local optimum, after MISSES samples in vain or after `steps` steps, each of at most SAMPLE candidates: counts,
    never wall time."""
    best = _best([start], score)
    evaluated, misses = 1, 0
    for _ in range(steps):
        options = near(p, best.placement, limits, rng)
        if not options:
            break
        found = _best(options, score)
        evaluated += len(options)
        if found.score >= best.score - LEAST_GAIN * abs(best.score):
            misses += 1
            if len(options) < SAMPLE or misses == MISSES:
                break
            continue
        best, misses = found, 0
    return Found(best.placement, best.score, evaluated)


def near(p: Problem, here: Bools, limits: Limits, rng: np.random.Generator) -> list[Bools]:
    """At most SAMPLE neighbours within the limits: drawn from all of them, or where those are very many, proposed at
    random for models in proportion to what they wait for."""
    if here.size > LISTED:
        return proposals(p, here, limits, rng)
    return _sample([o for o in neighbours(p, here) if limits.allow(o)], rng)


def proposals(p: Problem, here: Bools, limits: Limits, rng: np.random.Generator) -> list[Bools]:
    """SAMPLE random placements with one replica more, others on its node making way; nobody's last one goes."""
    count, free = here.sum(axis=0), p.memory - (here * p.need).sum(axis=1)
    out: list[Bools] = []
    for n, m, order in zip(
        rng.integers(len(p.nodes), size=4 * SAMPLE),
        rng.integers(len(p.models), size=4 * SAMPLE),
        rng.permuted(np.tile(np.arange(len(p.models)), (4 * SAMPLE, 1)), axis=1),
        strict=True,
    ):
        if here[n, m] or p.banned[n, m] or p.need[m] > p.memory[n] + 1e-9:
            continue
        gone, room = [], free[n]
        for other in order[here[n, order]]:
            if room >= p.need[m] - 1e-9:
                break
            if count[other] > 1 and not limits.fixed[n, other]:
                gone.append((int(n), int(other)))
                room += p.need[other]
        option = _changed(here, gone, [(int(n), int(m))])
        if room >= p.need[m] - 1e-9 and limits.allow(option):
            out.append(option)
        if len(out) == SAMPLE:
            break
    return out


def neighbours(p: Problem, here: Bools) -> Iterator[Bools]:
    """All placements one step away that fit, cover no fewer models, and load nothing where it has failed."""
    count = here.sum(axis=0)
    used = (here * p.need).sum(axis=1)
    yield from _adds(p, here)
    for n, m in zip(*np.nonzero(here), strict=True):
        if count[m] > 1:
            yield _changed(here, [(n, m)], [])
    for n, m in zip(*np.nonzero(~here & ~p.banned), strict=True):
        yield from _evicting(p, here, int(n), int(m), used)
        if used[n] + p.need[m] <= p.memory[n] + 1e-9:
            for other in np.nonzero(here[:, m])[0]:
                yield _changed(here, [(int(other), int(m))], [(int(n), int(m))])
    yield from _exchanges(p, here, used)


def _adds(p: Problem, here: Bools) -> Iterator[Bools]:
    left = p.memory - (here * p.need).sum(axis=1)
    twins: set[tuple[object, ...]] = set()
    for n, m in zip(*np.nonzero(~here & ~p.banned & (p.need[None] <= left[:, None] + 1e-9)), strict=True):
        # Nodes alike in all but where prompts enter score nearly the same; one of them stands for all.
        key = (
            m,
            p.speed[n],
            p.memory[n],
            here[n].tobytes(),
            p.held[n].tobytes(),
            p.work[n].tobytes(),
            p.ready_in[n, m],
        )
        if key not in twins:
            twins.add(key)
            yield _changed(here, [], [(int(n), int(m))])


def _evicting(
    p: Problem, here: Bools, n: int, m: int, used: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> Iterator[Bools]:
    """Puts m on n in place of one or two others; a last replica that must go is put elsewhere if it fits."""
    short = used[n] + p.need[m] - p.memory[n]
    if short <= 1e-9 or p.need[m] > p.memory[n] + 1e-9:
        return
    others = [int(o) for o in np.nonzero(here[n])[0]]
    single = [o for o in others if p.need[o] >= short - 1e-9]
    pairs = [
        c for c in combinations([o for o in others if o not in single], 2) if p.need[list(c)].sum() >= short - 1e-9
    ]
    for gone in [(o,) for o in single] + pairs:
        moved = cover(p, _changed(here, [(n, o) for o in gone], [(n, m)]))
        if (moved.any(axis=0) >= here.any(axis=0)).all():
            yield moved


def _exchanges(p: Problem, here: Bools, used: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Iterator[Bools]:
    where = [(int(n), int(m)) for n, m in zip(*np.nonzero(here), strict=True)]
    for (a, x), (b, y) in combinations(where, 2):
        if a == b or x == y or here[a, y] or here[b, x] or p.banned[a, y] or p.banned[b, x]:
            continue
        delta = p.need[y] - p.need[x]
        if used[a] + delta <= p.memory[a] + 1e-9 and used[b] - delta <= p.memory[b] + 1e-9:
            yield _changed(here, [(a, x), (b, y)], [(a, y), (b, x)])


def _changed(here: Bools, off: Sequence[tuple[int, int]], on: Sequence[tuple[int, int]]) -> Bools:
    out = here.copy()
    for at in off:
        out[at] = False
    for at in on:
        out[at] = True
    return out


def _sample(options: list[Bools], rng: np.random.Generator) -> list[Bools]:
    if len(options) <= SAMPLE:
        return options
    picked = np.sort(rng.choice(len(options), size=SAMPLE, replace=False))
    return [options[i] for i in picked]


def _best(options: Sequence[Bools], score: Score) -> Found:
    scores = score(options)
    at = int(np.argmin(scores))
    return Found(options[at], float(scores[at]), len(options))


def by_plans(plan_of: Planner, evaluate: Evaluate) -> Score:
    """Placements scored as whole plans, by a simulator for one."""

    def score(here: Sequence[Bools]) -> Floats:
        return np.asarray(evaluate([plan_of(one) for one in here]).mean(axis=1))

    return score
