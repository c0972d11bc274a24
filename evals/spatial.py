"""Where prompts enter: each access node has a share of them, and who asks stays at one node where the trace says."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from edgewise.domain.cluster import NodeSpec
from edgewise.domain.errors import BadInput, UnknownNode
from evals.traces import TraceRow, nearest

SKEW = 0.6  # of the default shares: the busiest of seven nodes gets about three times what the quietest gets


@dataclass(frozen=True, slots=True)
class Spatial:
    """Access nodes and the cumulative shares of prompts that enter at them; the last is 1."""

    nodes: tuple[str, ...]
    cumulative: tuple[float, ...]

    @staticmethod
    def of(shares: Mapping[str, float]) -> Spatial:
        """Shares are relative weights. Raises BadInput when they are negative or all zero."""
        total = sum(shares.values())
        if total <= 0 or min(shares.values()) < 0:
            raise BadInput("shares of access nodes must be ≥ 0 and not all zero")
        return Spatial(tuple(shares), tuple(accumulate(s / total for s in shares.values())))

    @staticmethod
    def default(nodes: Sequence[NodeSpec]) -> Spatial:
        """Shares that fall with rank as i^-0.6, the first node being the busiest."""
        return Spatial.of({node.id: (i + 1) ** -SKEW for i, node in enumerate(nodes)})

    def node_for(self, row: TraceRow, seed: int, turn: int = 0) -> str:
        """The access node of a row; fixed by (seed, who asked), else by (seed, row, turn). A row's own wins.
        turn: how often the trace has started again."""
        if row.access_node is not None:
            return row.access_node
        key = row.sticky_key
        # A client of one class is not the client of that number in another.
        who = key or f"{row.line}/{row.timestamp_s}/{turn}"
        digest = hashlib.blake2b(f"{seed}/{row.source}/{row.model_class}/{who}".encode(), digest_size=8).digest()
        place = int.from_bytes(digest) / 2**64
        return self.nodes[min(bisect_right(self.cumulative, place), len(self.nodes) - 1)]


def check_access_nodes(rows: Sequence[TraceRow], path: Path, nodes: Sequence[NodeSpec]) -> None:
    """Raise UnknownNode, naming file and line, for an access node that the cluster has not."""
    known = [node.id for node in nodes]
    for row in rows:
        if row.access_node is not None and row.access_node not in known:
            raise UnknownNode(
                f"access_node: {row.access_node!r} is not in the cluster",
                where=f"{path}:{row.line}",
                hint=nearest(row.access_node, known),
            )
