"""Plans as the arrays the twin takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edgewise.domain.plan import ANY, Plan
from edgewise.twin.demand import Bools, Floats, Ints


class Arranged(NamedTuple):
    """goal [N, M]: replicas wanted. shares [N, M]. rows [N, M], weights [R, N]: routes as in FleetArrays."""

    goal: Bools
    shares: Floats
    rows: Ints
    weights: Floats


def arrange(plan: Plan, nodes: Sequence[str], models: Sequence[str]) -> Arranged:
    """The plan in the order of these nodes and models; what it names beyond them is left out. A model without a route
    may go anywhere; a replica without a share gets what the plan's replicas get on average there, at least."""
    at_node = {n: i for i, n in enumerate(nodes)}
    at_model = {m: j for j, m in enumerate(models)}
    goal = np.zeros((len(nodes), len(models)), dtype=bool)
    shares = np.ones((len(nodes), len(models)))
    for r in plan.replicas:
        if r.node in at_node and r.model in at_model:
            goal[at_node[r.node], at_model[r.model]] = True
    for s in plan.shares:
        if s.node in at_node and s.model in at_model and s.share > 0:
            shares[at_node[s.node], at_model[s.model]] = s.share
    table: dict[tuple[str, str], Floats] = {}
    for route in plan.routes:
        if route.node in at_node and route.model in at_model and route.weight > 0:
            row = table.setdefault((route.access_node, route.model), np.zeros(len(nodes)))
            row[at_node[route.node]] += route.weight
    rows = np.full((len(nodes), len(models)), -1, np.int64)
    ordered = sorted(table, key=lambda key: (key[0] != ANY, key))  # a row of an access node overrides ANY's
    for i, (access, model) in enumerate(ordered):
        if access == ANY:
            rows[:, at_model[model]] = i
        elif access in at_node:
            rows[at_node[access], at_model[model]] = i
    weights = np.array([table[key] / table[key].sum() for key in ordered]).reshape(len(ordered), len(nodes))
    return Arranged(goal, shares, rows, weights)
