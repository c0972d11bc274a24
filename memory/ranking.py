"""Which cases are recalled and which are forgotten. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edgewise.control.merit import is_good, merit
from edgewise.domain.plan import ReplicaGoal
from edgewise.domain.records import Case, Reach, RecalledCase, Situation
from memory.feasible import LEAST_PART, feasible_part
from memory.vectors import Floats, distances, distances_from

# Between two situations this much further apart, the better outcome decides: a tenth of one feature's full scale.
# Enough to prefer the good one of two near twins, too little to recall a case from other circumstances.
OUTCOME_WEIGHT = 0.1
# What a case that can be carried out in part only is set back by, per part that is missing.
PART_WEIGHT = 0.4
# What the repetition of a case already chosen is set back by: the same placement in the same situation.
REPEAT_WEIGHT, REPEAT_SPAN = 0.2, 0.1
# How far apart situations are that still tell each other what objective is usual.
DIFFICULTY_SPAN = 0.15
# A good or a bad example further away than this is none.
NEAR = 0.5
# A case as bad as can be is forgotten half a memory's length before a good one of the same age.
AGE_PENALTY = 0.5
# Unscored cases newer than this part of the memory still await their outcome.
AWAITING = 0.1
# Cases fetched per case recalled: what is weighed, filtered and varied needs some to choose from.
POOL_FACTOR, POOL_LEAST = 8, 48


def pool(count: int) -> int:
    """How many of the nearest scored cases are weighed to recall `count`."""
    return max(POOL_LEAST, POOL_FACTOR * count)


def recall(
    situation: Situation, cases: Iterable[Case], count: int, reach: Reach | None = None, both: bool = False
) -> list[RecalledCase]:
    """At most `count` of the nearest scored cases, nearest first; ties: the newer, then the id.

    Each costs its distance, the rank of its merit in the pool (best 0, worst OUTCOME_WEIGHT), the part of its
    placement that cannot be carried out, and its likeness to one already chosen (maximal marginal relevance:
    Carbonell and Goldstein, SIGIR 1998); the cheapest is chosen, then the next. reach: cases that cannot be carried
    out there are left out (memory.feasible); None: all can. both: of good and bad cases at least one each, where
    there is one within NEAR.
    """
    scored = [c for c in cases if c.outcome is not None]
    parts = {c.id: feasible_part(c.placement, reach) if reach else 1.0 for c in scored}
    scored = [c for c in scored if parts[c.id] >= LEAST_PART]
    if not scored or count <= 0:
        return []
    near, away = _nearest(situation, scored, pool(count))
    apart = distances([c.situation for c in near])
    merits = merits_of(near, apart)
    found = [RecalledCase(c, float(d), m, parts[c.id]) for c, d, m in zip(near, away, merits, strict=True)]
    missing = np.array([1 - f.part for f in found])
    cost = away + OUTCOME_WEIGHT * np.array(_ranks(merits)) + PART_WEIGHT * missing
    chosen = _varied(cost, alike(near, apart), count)
    if both:
        chosen = _both_kinds(chosen, cost, found)
    return [found[i] for i in sorted(chosen)]


def merits_of(cases: Sequence[Case], apart: Floats) -> list[float]:
    """How each case came out, ln, 0 as it should: the mean of its own merit (control.merit) and of how its objective
    compares with what is usual in situations like its own, which no prediction can be wrong about. apart [n, n]."""
    told = np.log([max(1e-3, c.outcome.objective) if c.outcome else 1.0 for c in cases])
    weight = np.exp(-((apart / DIFFICULTY_SPAN) ** 2)) * np.array(
        [c.outcome.times if c.outcome else 1 for c in cases]
    )
    usual = weight @ told / weight.sum(axis=1)
    own = [merit(c) for c in cases]
    beyond = told - usual
    return [float(b) if m is None else float(m + b) / 2 for m, b in zip(own, beyond, strict=True)]


def alike(cases: Sequence[Case], apart: Floats) -> Floats:
    """Likeness [n, n] in [0, 1]: of placement (what both have, over what either has) times of situation."""
    names: dict[ReplicaGoal, int] = {}
    rows = [{names.setdefault(goal, len(names)) for goal in c.placement} for c in cases]
    placed = np.zeros((len(rows), len(names) + 1))  # the last stands for the empty placement
    for i, row in enumerate(rows):
        placed[i, list(row) or [-1]] = 1.0
    both, size = placed @ placed.T, placed.sum(axis=1)
    same = both / (size[:, None] + size - both)
    out: Floats = same * np.exp(-((apart / REPEAT_SPAN) ** 2))
    return out


def _nearest(situation: Situation, cases: Sequence[Case], most: int) -> tuple[list[Case], Floats]:
    """The nearest cases in order, and their distances."""
    d = distances_from(situation, [c.situation for c in cases])
    order = sorted(range(len(cases)), key=lambda i: (d[i], -cases[i].at_s, cases[i].id))[:most]
    return [cases[i] for i in order], d[order]


def _varied(cost: Floats, likeness: Floats, count: int) -> list[int]:
    chosen: list[int] = []
    repeats = np.zeros(len(cost))
    while len(chosen) < min(count, len(cost)):
        total = cost + REPEAT_WEIGHT * repeats
        total[chosen] = np.inf
        chosen.append(int(np.argmin(total)))
        repeats = np.maximum(repeats, likeness[chosen[-1]])
    return chosen


def _both_kinds(chosen: list[int], cost: Floats, found: Sequence[RecalledCase]) -> list[int]:
    """The chosen with the last of them given up for the kind of example that is missing."""
    kinds = {is_good(found[i]) for i in chosen}
    if len(chosen) < 2 or len(kinds) == 2:
        return chosen
    others = [i for i, f in enumerate(found) if is_good(f) not in kinds and f.distance <= NEAR]
    return [*chosen[:-1], min(others, key=lambda i: (cost[i], i))] if others else chosen


@dataclass(frozen=True, slots=True)
class Stored:
    """What retention looks at. `stored_s` is any clock that orders the cases; `merit` None: not scored."""

    id: str
    stored_s: float
    merit: float | None


def forget(stored: Sequence[Stored], keep: int) -> list[str]:
    """Ids to delete so that a little fewer than `keep` remain (a twentieth, so that it is not done each time);
    none while they fit. The oldest and least helpful go first: usefulness is recency (0 oldest, 1 newest) less
    AGE_PENALTY · (rank of the merit, 1 worst); a case whose outcome never came counts as worst."""
    if len(stored) <= keep:
        return []
    by_age = sorted(stored, key=lambda s: (s.stored_s, s.id))
    last = max(1, len(by_age) - 1)
    scored = [s for s in by_age if s.merit is not None]
    ranks = dict(zip((s.id for s in scored), _ranks([s.merit or 0.0 for s in scored]), strict=True))
    useful = []
    for i, s in enumerate(by_age):
        recency = i / last
        unscored = 0.0 if recency >= 1 - AWAITING else 1.0
        useful.append((recency - AGE_PENALTY * ranks.get(s.id, unscored), i, s.id))
    useful.sort()
    return [case_id for _, _, case_id in useful[: len(stored) - (keep - keep // 20)]]


def _ranks(values: Sequence[float]) -> list[float]:
    """Each value's place among all, 0 for the lowest, 1 for the highest; equal values share one place."""
    ordered = sorted(set(values))
    last = max(1, len(ordered) - 1)
    return [bisect_left(ordered, v) / last for v in values]
