"""The thrash budget: a plan that asks for more changes than are left keeps the most needed ones."""

from __future__ import annotations

from edgewise.control.room import EPS, Filled, Place, Room
from edgewise.optimise.cells import cells_for
from edgewise.settings import Settings


def budget(settings: Settings, nodes: int, asked: int = 0) -> int:
    """Loads and drops still to be asked for in this epoch: the setting's number for each cell of nodes."""
    return max(0, settings.max_changes_per_epoch * cells_for(nodes) - asked)


def within_budget(
    wanted: frozenset[Place], base: frozenset[Place], where: Room, left: int, notes: list[str]
) -> frozenset[Place]:
    """`wanted` when it differs from `base` in at most `left` places; else `base` with the changes that matter most,
    additions before mere drops. A model that stands nowhere in `base` is added whatever the budget says."""
    if len(wanted ^ base) <= left:
        return wanted
    now = where.filled(())
    for place in sorted(base | where.loading, key=lambda p: (p not in where.loading, p not in wanted, where.rank(p))):
        if now.fits(place):
            now.add(place)
    used = len(frozenset(now) ^ base)
    refused = 0
    absent = [p for p in wanted if p not in now]
    for place in sorted(absent, key=lambda p: (now.count[p[1]] > 0, where.rank(p))):
        gone = _needed(now, place, wanted, where)
        if gone is None:
            refused += 1
        elif now.count[place[1]] == 0 or used + 1 + len(gone) <= left:
            for other in gone:
                now.discard(other)
            now.add(place)
            used += 1 + len(gone)
        else:
            refused += 1
    for place in sorted((p for p in now if p not in wanted and p not in where.loading), key=where.rank):
        if used < left and now.count[place[1]] > 1:
            now.discard(place)
            used += 1
    if refused:
        notes.append(f"put off {refused} changes: {left} left in this epoch")
    return frozenset(now)


def _needed(now: Filled, place: Place, wanted: frozenset[Place], where: Room) -> tuple[Place, ...] | None:
    """Unwanted replicas on the node that must go for `place` to fit; None when that would leave a model nowhere."""
    left, gone = where.budget[place[0]] - now.used(place[0]), []
    for other in sorted((p for p in now.on(place[0]) if p not in wanted), key=where.rank):
        if where.need[place[1]] <= left + EPS:
            break
        if other not in where.loading and now.count[other[1]] > 1:
            left += where.need[other[1]]
            gone.append(other)
    return tuple(gone) if where.need[place[1]] <= left + EPS else None
