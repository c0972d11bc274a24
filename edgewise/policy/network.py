"""The network between nodes as the matrices that dispatch takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgewise.domain.cluster import Link, Network
from edgewise.domain.units import KIB
from edgewise.policy.dispatch import Floats


def network_arrays(nodes: Sequence[str], network: Network) -> tuple[Floats, Floats]:
    """(latency both ways in s, s per KiB), [N, N] in the order of the names; nothing from a node to itself. Pairs
    that name a node which is not there are left out."""
    latency_s = np.full((len(nodes), len(nodes)), _both_ways_s(network.default))
    s_per_kib = np.full(latency_s.shape, _s_per_kib(network.default))
    index = {name: i for i, name in enumerate(nodes)}
    for pair in network.pairs:
        if pair.a in index and pair.b in index:
            a, b = index[pair.a], index[pair.b]
            latency_s[a, b] = latency_s[b, a] = _both_ways_s(pair.link)
            s_per_kib[a, b] = s_per_kib[b, a] = _s_per_kib(pair.link)
    np.fill_diagonal(latency_s, 0.0)
    np.fill_diagonal(s_per_kib, 0.0)
    return latency_s, s_per_kib


def _both_ways_s(link: Link) -> float:
    return 2 * link.latency_ms / 1e3


def _s_per_kib(link: Link) -> float:
    return KIB * 8 / (link.bandwidth_mbps * 1e6)
