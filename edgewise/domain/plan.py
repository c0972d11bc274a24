"""The plan: the *goal*. A change is the diff of goal and fact."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

ANY = "*"  # stands for every access node in a route


class Source(StrEnum):
    """Who proposed a plan."""

    OPTIMISER = "optimiser"
    LLM = "llm"
    INCUMBENT = "incumbent"
    OPERATOR = "operator"


class ChangeKind(StrEnum):
    LOAD = "load"
    DRAIN = "drain"
    UNLOAD = "unload"
    WEIGHT = "weight"
    SHARE = "share"


@dataclass(frozen=True, slots=True, order=True)
class ReplicaGoal:
    node: str
    model: str


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """Weight of sending a prompt of `model` that enters at `access_node` (ANY: all) to `node`. Weights of one
    (access_node, model) sum to 1; a pair not listed has weight 0 and gets nothing while the plan's lease runs."""

    access_node: str
    model: str
    node: str
    weight: float


@dataclass(frozen=True, slots=True, order=True)
class Share:
    """Part of a node's speed a model gets while it has work; relative to the other models with work there."""

    node: str
    model: str
    share: float


@dataclass(frozen=True, slots=True, order=True)
class Role:
    """What a node is mainly for, in words a person or an agent reads ("text", "image", "mixed", "spare")."""

    node: str
    role: str


@dataclass(frozen=True, slots=True, order=True)
class NodeSpeed:
    """A node that is `times` slower than the catalogue says, as its service was seen."""

    node: str
    times: float


@dataclass(frozen=True, slots=True, order=True)
class Floor:
    """Least part, in [0, 1], of each node's time that a model with work there gets, whatever the shares say."""

    model: str
    share: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Replicas wanted, sparse routing weights, on-node shares, roles; valid from `made_at_s` to `expires_s`
    (run clock). After expiry nodes and gateway go on by the last plan and say so. floors: beyond the setting
    `floor_share`. pins: replicas that later plans keep while this one lasts. asks_until_s: floors and pins end then,
    however often the lease is renewed (None: with the plan)."""

    id: str
    source: Source
    made_at_s: float
    expires_s: float
    replicas: tuple[ReplicaGoal, ...]
    routes: tuple[Route, ...] = ()
    shares: tuple[Share, ...] = ()
    roles: tuple[Role, ...] = ()
    alpha: float | None = None
    reason: str = ""
    slower: tuple[NodeSpeed, ...] = ()
    floors: tuple[Floor, ...] = ()
    pins: tuple[ReplicaGoal, ...] = ()
    asks_until_s: float | None = None

    def at(self, now_s: float) -> Plan:
        """The plan at `now_s`: without floors and pins whose time is over."""
        over = self.asks_until_s is not None and now_s >= self.asks_until_s
        return replace(self, floors=(), pins=(), asks_until_s=None) if over else self


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between goal and fact. `model` is empty for a change that concerns a whole node."""

    node: str
    model: str
    kind: ChangeKind
    detail: str = ""
