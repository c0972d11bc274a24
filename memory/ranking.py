"""Which cases are recalled and which are forgotten. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgewise.domain.records import Case, RecalledCase, Situation
from memory.vectors import distance

# Between two situations this much further apart, the better outcome decides: a tenth of one feature's full scale.
# Enough to prefer the good one of two near twins, too little to recall a case from other circumstances.
OUTCOME_WEIGHT = 0.1
# A case as bad as can be is forgotten half a memory's length before a good one of the same age.
AGE_PENALTY = 0.5
# Unscored cases newer than this part of the memory still await their outcome.
AWAITING = 0.1
# Cases fetched per case recalled: weighing outcomes needs some to choose from.
POOL_FACTOR, POOL_LEAST = 4, 16


def pool(count: int) -> int:
    """How many of the nearest scored cases are weighed to recall `count`."""
    return max(POOL_LEAST, POOL_FACTOR * count)


def recall(situation: Situation, cases: Iterable[Case], count: int) -> list[RecalledCase]:
    """Of the `pool(count)` nearest scored cases the `count` with the least distance + OUTCOME_WEIGHT · (rank of
    the objective in the pool, 0 best, 1 worst), nearest first. Ties: the newer, then the id."""
    scored = [(distance(situation, c.situation), c.outcome.objective, c) for c in cases if c.outcome is not None]
    scored.sort(key=lambda s: (s[0], -s[2].at_s, s[2].id))
    near = scored[: pool(count)]
    ranks = _ranks([objective for _, objective, _ in near])
    order = sorted(range(len(near)), key=lambda i: (near[i][0] + OUTCOME_WEIGHT * ranks[i], i))
    chosen = sorted(order[: max(0, count)])
    return [RecalledCase(near[i][2], near[i][0]) for i in chosen]


@dataclass(frozen=True, slots=True)
class Stored:
    """What retention looks at. `stored_s` is any clock that orders the cases; `objective` None: not scored."""

    id: str
    stored_s: float
    objective: float | None


def forget(stored: Sequence[Stored], keep: int) -> list[str]:
    """Ids to delete so that a little fewer than `keep` remain (a twentieth, so that it is not done each time);
    none while they fit. The oldest and least helpful go first: usefulness is recency (0 oldest, 1 newest) less
    AGE_PENALTY · (rank of the objective, 1 worst); a case whose outcome never came counts as worst."""
    if len(stored) <= keep:
        return []
    by_age = sorted(stored, key=lambda s: (s.stored_s, s.id))
    last = max(1, len(by_age) - 1)
    scored = [s for s in by_age if s.objective is not None]
    ranks = dict(zip((s.id for s in scored), _ranks([s.objective or 0.0 for s in scored]), strict=True))
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
