"""Nodes, links and the life of a replica."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class ReplicaState(StrEnum):
    """absent → loading → ready → draining → absent; `failed` after a load that did not succeed or a death."""

    ABSENT = "absent"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"

    @property
    def holds_memory(self) -> bool:
        return self in (ReplicaState.LOADING, ReplicaState.READY, ReplicaState.DRAINING)


# What may follow what; a door that sees any other step has missed one in between.
NEXT_STATES: dict[ReplicaState, frozenset[ReplicaState]] = {
    ReplicaState.ABSENT: frozenset({ReplicaState.LOADING}),
    ReplicaState.LOADING: frozenset({ReplicaState.READY, ReplicaState.FAILED, ReplicaState.ABSENT}),
    ReplicaState.READY: frozenset({ReplicaState.DRAINING, ReplicaState.FAILED}),
    ReplicaState.DRAINING: frozenset({ReplicaState.ABSENT, ReplicaState.FAILED}),
    ReplicaState.FAILED: frozenset({ReplicaState.ABSENT, ReplicaState.LOADING}),
}


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """An edge server. `speed` is relative to the node the service profiles were measured on."""

    id: str
    memory_gib: float
    speed: float = 1.0
    idle_w: float = 0.0
    busy_w: float = 0.0


@dataclass(frozen=True, slots=True)
class Link:
    """A symmetric link. Latency is one way and paid by request and response; a transfer takes size / bandwidth."""

    latency_ms: float = 0.0
    bandwidth_mbps: float = 1000.0


@dataclass(frozen=True, slots=True)
class LinkPair:
    a: str
    b: str
    link: Link


@dataclass(frozen=True, slots=True)
class Network:
    """The links between access nodes and serving nodes; a prompt served at its access node pays nothing."""

    default: Link = field(default_factory=Link)
    pairs: tuple[LinkPair, ...] = ()

    def between(self, a: str, b: str) -> Link:
        for pair in self.pairs:
            if {pair.a, pair.b} == {a, b}:
                return pair.link
        return self.default

    def round_trip_s(self, a: str, b: str, request_kib: float, response_kib: float) -> float:
        """Seconds the network adds to one prompt that enters at `a` and is served at `b`."""
        if a == b:
            return 0.0
        link = self.between(a, b)
        transfer_s = (request_kib + response_kib) * 1024 * 8 / (link.bandwidth_mbps * 1e6)
        return 2 * link.latency_ms / 1e3 + transfer_s
