"""What each kind is sure of: a least part of a node's time while it has work there, whatever is best on average.

Shares by size favour short prompts, and past capacity the best mean comes from starving the long ones. With a floor f
the shares of a node with n models are
    f·Σ + (1 − n·f)·share
(f at most 1/n): each gets at least f of the time, the order stays, and the rest is given out as before. It counts
against those models only that have work, so a kind never gets less than f. Shedding goes by the latency that dispatch
predicts with these shares: so at least the prompts that f of the nodes can serve in time are accepted.
"""

from __future__ import annotations

from dataclasses import replace

from edgewise.domain.plan import Plan


def floored(plan: Plan, floor: float) -> Plan:
    """The plan with no share below `floor` of its node's."""
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
