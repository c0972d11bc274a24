"""Cells: a large cluster is planned in parts of at most MOST nodes.

Nodes are dealt out kind by kind (memory, speed), so that every cell has nearly the same mix and each model has room
in each. The deal looks at nothing but the list of nodes: a node stays in its cell from decision to decision, whether
it is alive or not, and what is known of a cell's placement stays known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgewise.domain.cluster import NodeSpec
from edgewise.optimise.problem import Floats, Ints

MOST = 50


def cells_for(nodes: int) -> int:
    """How many cells so many nodes make."""
    return max(1, -(-nodes // MOST))


def cell_of(nodes: Sequence[NodeSpec]) -> Ints:
    """The cell [N] of each node."""
    order = sorted(range(len(nodes)), key=lambda i: (nodes[i].memory_gib, nodes[i].speed, i))
    cell = np.empty(len(nodes), np.int64)
    cell[order] = np.arange(len(nodes)) % cells_for(len(nodes))
    return cell


def parts(put: Floats, cell: Ints, cells: int) -> Floats:
    """The part [C, M] of each model's work that water-filling puts [N, M] into each cell; each model's sum to 1."""
    total = np.zeros((cells, put.shape[1]))
    np.add.at(total, cell, put)
    sums = total.sum(axis=0)
    return np.asarray(np.where(sums > 0, total / np.where(sums > 0, sums, 1.0), 1.0 / cells))
