"""The thrash budget: a plan that asks for more changes than are left keeps the most needed ones."""

from __future__ import annotations

from collections import Counter

from edgewise.control.room import Place, Room


def within_budget(
    wanted: frozenset[Place], base: frozenset[Place], where: Room, left: int, notes: list[str]
) -> frozenset[Place]:
    """`wanted` when it differs from `base` in at most `left` places; else `base` with the changes that matter most,
    additions before mere drops. A model that stands nowhere in `base` is added whatever the budget says."""
    if len(wanted ^ base) <= left:
        return wanted
    now: set[Place] = set()
    for place in sorted(base | where.loading, key=lambda p: (p not in where.loading, p not in wanted, where.rank(p))):
        if where.fits(now, place):
            now.add(place)
    count = Counter(m for _, m in now)
    used = len(now ^ base)
    refused = 0
    for place in sorted(wanted - now, key=lambda p: (count[p[1]] > 0, where.rank(p))):
        gone = _needed(now, place, wanted, where, count)
        if gone is None:
            refused += 1
        elif count[place[1]] == 0 or used + 1 + len(gone) <= left:
            now.difference_update(gone)
            now.add(place)
            count.subtract(m for _, m in gone)
            count[place[1]] += 1
            used += 1 + len(gone)
        else:
            refused += 1
    for place in sorted(now - wanted - where.loading, key=where.rank):
        if used < left and count[place[1]] > 1:
            now.discard(place)
            count[place[1]] -= 1
            used += 1
    if refused:
        notes.append(f"put off {refused} changes: {left} left in this epoch")
    return frozenset(now)


def _needed(
    now: set[Place], place: Place, wanted: frozenset[Place], where: Room, count: Counter[str]
) -> tuple[Place, ...] | None:
    """Unwanted replicas on the node that must go for `place` to fit; None when that would leave a model nowhere."""
    left, gone = set(now), []
    for other in sorted((p for p in now if p[0] == place[0] and p not in wanted), key=where.rank):
        if where.fits(left, place):
            break
        if other not in where.loading and count[other[1]] > 1:
            left.discard(other)
            gone.append(other)
    return tuple(gone) if where.fits(left, place) else None
