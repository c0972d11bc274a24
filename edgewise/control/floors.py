"""What each kind is sure of: a least part of a node's time while it has work there, whatever is best on average.

Shares by size favour short prompts, and past capacity the best mean comes from starving the long ones. With a floor f
the shares of a node with n models are
    f·Σ + (1 − n·f)·share
(f at most 1/n): each gets at least f of the time, the order stays, and the rest is given out as before. It counts
against those models only that have work, so a kind never gets less than f. Shedding goes by the latency that dispatch
predicts with these shares: so at least the prompts that f of the nodes can serve in time are accepted.

A plan or an operator may set higher floors for some models; then each has its own f, scaled down where those of a
node sum to more than 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from edgewise.domain.plan import ANY, Floor, Plan


def floored(plan: Plan, floor: float, floors: Iterable[Floor] = ()) -> Plan:
    """The plan with no share below `floor` of its node's, and none of a model below its own floor, where it has one
    that is higher."""
    own = _largest(floors, floor)
    if own:
        return _each(plan, own, floor) if plan.shares else plan
    if floor <= 0 or not plan.shares:
        return plan
    total: dict[str, float] = {}
    count: dict[str, int] = {}
    for s in plan.shares:
        total[s.node] = total.get(s.node, 0.0) + s.share
        count[s.node] = count.get(s.node, 0) + 1
    if all(s.share >= floor * total[s.node] for s in plan.shares):
        return plan
    shares = []
    for s in plan.shares:
        least = min(floor, 1.0 / count[s.node])
        shares.append(replace(s, share=least * total[s.node] + (1.0 - count[s.node] * least) * s.share))
    return replace(plan, shares=tuple(shares))


def _largest(floors: Iterable[Floor], floor: float) -> dict[str, float]:
    """The highest floor of each model that has one above the common one. ANY stands for every model."""
    own: dict[str, float] = {}
    for f in floors:
        if f.share > max(floor, own.get(f.model, 0.0)):
            own[f.model] = f.share
    return own


def _each(plan: Plan, own: Mapping[str, float], floor: float) -> Plan:
    common = max(floor, own.get(ANY, 0.0))
    total: dict[str, float] = {}
    least: dict[str, float] = {}
    for s in plan.shares:
        total[s.node] = total.get(s.node, 0.0) + s.share
        least[s.node] = least.get(s.node, 0.0) + max(common, own.get(s.model, 0.0))
    floor_of = {s: max(common, own.get(s.model, 0.0)) / max(1.0, least[s.node]) for s in plan.shares}
    # A plan that keeps them already stays as it is: floors applied again change nothing.
    if all(s.share >= floor_of[s] * total[s.node] * (1 - 1e-9) for s in plan.shares):
        return plan
    rest = {node: max(0.0, 1.0 - x) for node, x in least.items()}
    shares = tuple(replace(s, share=floor_of[s] * total[s.node] + rest[s.node] * s.share) for s in plan.shares)
    return replace(plan, shares=shares)
