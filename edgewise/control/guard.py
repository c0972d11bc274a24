"""The guard projects any plan, whoever made it, to the feasible set, and says in words what it changed.

Feasible: known names on alive nodes, memory respected, every model standing somewhere if that is possible at all,
weights and shares finite and summing to 1. Prudent: nothing that loads is evicted, nothing fresh or with prompts
queued unless a kind would otherwise stand nowhere or its memory is wanted, no more changes than the thrash budget.
Pinned replicas are kept or added before all others, whatever the budget; a pin that cannot be is dropped, and noted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgewise.control.room import EPS, Filled, Place, Room, room
from edgewise.control.thrash import budget, within_budget
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.observation import Observation
from edgewise.domain.plan import ANY, Plan, ReplicaGoal, Role, Route, Share
from edgewise.settings import Settings

ROUNDS = 6
LEAST_PART = 1e-9
LARGEST_ALPHA = 10.0


@dataclass(frozen=True, slots=True)
class Projection:
    """plan: feasible. notes: what was changed, in words. asked: loads and drops beyond the incumbent's replicas."""

    plan: Plan
    notes: tuple[str, ...]
    asked: int


def project(
    plan: Plan,
    observation: Observation,
    incumbent: Plan | None,
    settings: Settings,
    asked: int = 0,
    *,
    replicas_only: bool = False,
    pins: Sequence[ReplicaGoal] = (),
) -> Projection:
    """The nearest feasible plan. incumbent: what changes are counted from (None: everything may change).
    asked: loads and drops already asked for in this epoch. Projecting a projection changes nothing.
    replicas_only: without routes and shares, for a caller that makes its own. pins: replicas that must stand."""
    where = room(observation, settings)
    notes: list[str] = []
    known = _known(plan, where, notes)
    base = None if incumbent is None else _known(incumbent, where, [])
    left = budget(settings, len(observation.node_specs), asked)
    pinned = _pinned(pins, where, notes)
    wanted, said = _settled(known, where, base, left, pinned)
    # A pin must not cost a kind its last place: the last pins go first.
    for k in range(len(pinned) - 1, -1, -1):
        if not (missing := _missing(wanted, where)):
            break
        found, words = _settled(known, where, base, left, pinned[:k])
        if len(_missing(found, where)) < len(missing):
            wanted, said = found, [*words, *(_unpinned(p, "a kind would stand nowhere") for p in pinned[k:])]
    notes += said
    feasible = replace(
        plan,
        replicas=tuple(ReplicaGoal(n, m) for n, m in sorted(wanted, key=where.rank)),
        routes=() if replicas_only else _routes(plan, wanted, where, notes),
        shares=() if replicas_only else _shares(plan, wanted, where),
        roles=tuple(Role(r.node, r.role) for r in plan.roles if r.node in where.budget),
        alpha=_alpha(plan.alpha, notes),
    )
    changed = len(wanted ^ base) if base is not None else 0
    return Projection(feasible, tuple(dict.fromkeys(notes)), changed)


def _settled(
    wanted: frozenset[Place], where: Room, base: frozenset[Place] | None, left: int, pinned: Sequence[Place]
) -> tuple[frozenset[Place], list[str]]:
    """(the nearest feasible places, what was changed): memory, cover and budget in turn until nothing moves."""
    notes: list[str] = []
    fixed = frozenset(pinned)
    for _ in range(ROUNDS):
        before = wanted
        wanted = _cover(_stand(wanted | fixed, where, base, notes, fixed), where, notes, fixed)
        if base is not None:
            wanted = within_budget(wanted, base | fixed, where, left, notes)
        if wanted == before:
            break
    return wanted, notes


def _pinned(pins: Sequence[ReplicaGoal], where: Room, notes: list[str]) -> tuple[Place, ...]:
    """The pins that memory has room for beside what loads, in their order."""
    out = where.filled(where.loading)
    kept: list[Place] = []
    for pin in dict.fromkeys((p.node, p.model) for p in pins):
        if not _names(*pin, where):
            notes.append(_unpinned(pin, "no such model, or no such node alive"))
        elif where.state.get(pin) is ReplicaState.FAILED:
            notes.append(_unpinned(pin, "its load failed there"))
        elif not out.fits(pin):
            notes.append(_unpinned(pin, "no memory for it"))
        else:
            out.add(pin)
            kept.append(pin)
    return tuple(kept)


def _unpinned(pin: Place, why: str) -> str:
    return f"dropped the pin of {pin[1]} on {pin[0]}: {why}"


def _missing(places: frozenset[Place], where: Room) -> set[str]:
    return set(where.need) - {model for _, model in places}


def violations(plan: Plan, observation: Observation, settings: Settings) -> tuple[str, ...]:
    """Why a plan may not be carried out, in words; empty when it may. The gate's hard check."""
    where = room(observation, settings)
    places = {(r.node, r.model) for r in plan.replicas}
    found = [f"{m} on {n}: no such model or no such node alive" for n, m in sorted(places) if not _names(n, m, where)]
    known = {p for p in places if _names(*p, where)}
    filled = where.filled(known)
    for node, memory_gib in where.budget.items():
        if (used := filled.used(node)) > memory_gib + EPS:
            found.append(f"{node} would need {used:g} of {memory_gib:g} GiB")
    numbers = [r.weight for r in plan.routes] + [s.share for s in plan.shares]
    if not all(math.isfinite(x) and x >= 0 for x in numbers):
        found.append("a weight or share is not a number")
    found += [f"{m} on {n} is loading and would be evicted" for n, m in sorted(where.loading - places)]
    return tuple(found)


def _names(node: str, model: str, where: Room) -> bool:
    return node in where.budget and model in where.need


def _known(plan: Plan, where: Room, notes: list[str]) -> frozenset[Place]:
    kept = frozenset((r.node, r.model) for r in plan.replicas if _names(r.node, r.model, where))
    for r in plan.replicas:
        if r.model not in where.need:
            notes.append(f"dropped unknown model {r.model!r}")
        elif r.node not in where.budget:
            notes.append(f"dropped {r.model} on {r.node}: not a node that is alive")
    return kept


def _stand(
    wanted: frozenset[Place],
    where: Room,
    base: frozenset[Place] | None,
    notes: list[str],
    pinned: frozenset[Place],
) -> frozenset[Place]:
    """What may stand: what loads first, then what is pinned, then what is fresh, then what is there already, then
    what is new, as far as memory goes; at last what has prompts queued and is in nobody's way."""
    out = where.filled(where.loading | pinned if pinned else where.loading)
    fresh = where.fresh if base is None else where.fresh & base
    there = {p for p, s in where.state.items() if s is ReplicaState.READY}
    for group in (fresh, wanted & there, wanted - there):
        for place in sorted((p for p in group if p not in out), key=where.rank):
            if out.fits(place):
                out.add(place)
            else:
                notes.append(f"dropped {place[1]} on {place[0]}: no memory for it")
    # What the incumbent does not want any more is on its way out already; queued prompts do not bring it back.
    busy = there & where.busy & (wanted if base is None else base)
    for place in sorted((p for p in busy if p not in out), key=where.rank):
        if out.fits(place):
            out.add(place)
    for node, model in sorted((p for p in out if p not in wanted), key=where.rank):
        why = "loading" if (node, model) in where.loading else "fresh" if (node, model) in fresh else "busy"
        notes.append(f"kept {model} on {node}: {why}")
    return frozenset(out)


def _cover(places: frozenset[Place], where: Room, notes: list[str], pinned: frozenset[Place]) -> frozenset[Place]:
    """A replica for each model that has none, largest first: where it fits, else in place of replicas of models
    that have others."""
    out = where.filled(places)
    for model in sorted(where.need, key=lambda m: (-where.need[m], where.order[m])):
        if out.count[model]:
            continue
        options = []
        for node in where.budget:
            gone = _make_room(out, (node, model), where, pinned)
            if gone is not None:
                state = where.state.get((node, model), ReplicaState.ABSENT)
                failed, there = state is ReplicaState.FAILED, state is ReplicaState.READY
                left = where.budget[node] - out.used(node)
                options.append((failed, len(gone), not there, left, where.order[node], node, gone))
        if not options:
            notes.append(f"no room anywhere for {model}")
            continue
        *_, node, gone = min(options, key=lambda o: o[:5])
        for place in gone:
            out.discard(place)
        out.add((node, model))
        evicted = f" in place of {', '.join(m for _, m in gone)}" if gone else ""
        notes.append(f"added {model} on {node}{evicted}: it stood nowhere")
    return frozenset(out)


def _make_room(places: Filled, place: Place, where: Room, pinned: frozenset[Place]) -> tuple[Place, ...] | None:
    """Which replicas to evict so that `place` fits: the fewest that have another of their model, large ones first,
    fresh ones last; None when it cannot."""
    node, model = place
    if where.need[model] > where.budget[node] + EPS:
        return None
    left = where.budget[node] - places.used(node)
    gone: list[Place] = []
    others = sorted(
        (p for p in places.on(node) if p not in where.loading and p not in pinned and p != place),
        key=lambda p: (p in where.fresh, -where.need[p[1]], where.rank(p)),
    )
    for other in others:
        if where.need[model] <= left + EPS:
            break
        if places.count[other[1]] > 1:
            left += where.need[other[1]]
            gone.append(other)
    return tuple(gone) if where.need[model] <= left + EPS else None


def _routes(plan: Plan, wanted: frozenset[Place], where: Room, notes: list[str]) -> tuple[Route, ...]:
    kept: dict[tuple[str, str], dict[str, float]] = {}
    for r in plan.routes:
        if (r.node, r.model) in wanted and math.isfinite(r.weight) and r.weight > 0:
            row = kept.setdefault((r.access_node, r.model), {})
            row[r.node] = row.get(r.node, 0.0) + r.weight
        elif not math.isfinite(r.weight) or r.weight < 0:
            notes.append(f"dropped a weight of {r.weight} for {r.model} to {r.node}")
    missing = [model for model in where.need if (ANY, model) not in kept]
    if missing:
        stands: dict[str, list[str]] = {}
        for n, m in sorted(wanted, key=where.rank):
            stands.setdefault(m, []).append(n)
        for model in missing:
            if nodes := stands.get(model):
                kept[(ANY, model)] = dict.fromkeys(nodes, 1 / len(nodes))
    return tuple(
        Route(access, model, node, weight)
        for (access, model), row in sorted(kept.items())
        for node, weight in _normal(row).items()
    )


def _shares(plan: Plan, wanted: frozenset[Place], where: Room) -> tuple[Share, ...]:
    given = {(s.node, s.model): s.share for s in plan.shares if math.isfinite(s.share) and s.share > 0}
    out: list[Share] = []
    here: dict[str, list[str]] = {}
    for n, m in sorted(wanted, key=where.rank):
        here.setdefault(n, []).append(m)
    for node in where.budget:
        models = here.get(node, [])
        known = [given[(node, m)] for m in models if (node, m) in given]
        # A model without a share gets as much as the others do on average.
        usual = sum(known) / len(known) if known else 1.0
        row = _normal({m: given.get((node, m), usual) for m in models})
        out += [Share(node, m, x) for m, x in row.items()]
    return tuple(out)


def _normal(row: dict[str, float]) -> dict[str, float]:
    largest = max(row.values(), default=1.0)
    if abs(sum(row.values()) - 1) < 1e-6 and min(row.values()) >= LEAST_PART * largest:
        return row
    # A sum of huge weights would overflow; a part that vanishes would be no part any more when it is read again.
    scaled = {k: max(v / largest, LEAST_PART) for k, v in row.items()}
    total = sum(scaled.values())
    return {k: v / total for k, v in scaled.items()}


def _alpha(alpha: float | None, notes: list[str]) -> float | None:
    if alpha is None:
        return None
    if not math.isfinite(alpha) or alpha < 0:
        notes.append(f"dropped alpha {alpha}")
        return None
    return min(alpha, LARGEST_ALPHA)
