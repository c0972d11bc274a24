"""Rows other tools read: events.jsonl, the store's slot summaries, cases of episodic memory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edgewise.domain.plan import ReplicaGoal, Role


class PromptStatus(StrEnum):
    COMPLETED = "completed"
    SHED = "shed"  # refused with 503 + Retry-After: it would have missed its deadline
    FAILED = "failed"
    CANCELLED = "cancelled"  # by the client
    PENDING = "pending"  # no answer when the run ended


@dataclass(frozen=True, slots=True)
class PromptRow:
    """One prompt in events.jsonl. `*_s` are run-clock seconds.

    node: where it was (last) served, None when never sent. started_s: service began at the node; None: never.
    ideal_s: expected latency alone on the fastest node; deadline_s: allowed latency; together with the times they
    make every prompt figure of summary.json recomputable. attempts: times it was sent to a node. decision: id of
    the decision whose plan routed it. stream_begun: the first byte of the answer had left when it ended.
    output_tokens: of the answer; asked_output_tokens: how many it may have at most. steps: denoising steps asked for.
    """

    id: str
    model: str
    access_node: str
    node: str | None
    arrived_s: float
    started_s: float | None
    finished_s: float | None
    status: PromptStatus
    decision: str | None
    attempts: int
    deadline_s: float
    ideal_s: float
    stream_begun: bool = False
    cold_start: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None
    images: int | None = None
    error: str = ""
    asked_output_tokens: int | None = None
    steps: int | None = None


@dataclass(frozen=True, slots=True)
class ReplicaRow:
    """One step in a replica's (kind load, ready, drain, unload, failed) or a node's (node-up, node-down) life."""

    kind: str
    at_s: float
    node: str
    model: str = ""
    decision: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SlotModel:
    model: str
    arrivals: int
    completed: int
    waiting: int
    queued: int
    in_flight: int
    replicas: int
    mean_latency_s: float | None
    slowdown: float | None


@dataclass(frozen=True, slots=True)
class SlotSummary:
    """What one slot looked like; the planner and the dashboard read these."""

    slot: int
    epoch: int
    at_s: float
    decision: str
    models: tuple[SlotModel, ...]
    nodes_alive: int
    jain_normalized: float | None


@dataclass(frozen=True, slots=True)
class Situation:
    """A decision's circumstances as numbers: `features` by name, scaled to about [0, 1] each."""

    features: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class CaseOutcome:
    """What was measured in the `slots` slots after a decision: lower objective is better. regret: ln of the chosen
    plan's objective over the best candidate's, both re-run on the prompts that came; None until hindsight knows.

    A case that stands for several decisions holds means: over `times` measurements, and `regrets` looks back."""

    objective: float
    mean_latency_s: float
    jain_normalized: float
    slots: int
    regret: float | None = None
    times: int = 1
    regrets: int = 0


@dataclass(frozen=True, slots=True)
class Case:
    """A past decision. predicted: the chosen plan's objective as the gate expected it, 0 where it compared nothing;
    stood: the same of what stood before. source: who proposed the plan. Routing weights and shares are not kept:
    they belong to the demand of the moment, and a plan made of a case gets fresh ones."""

    id: str
    decision: str
    at_s: float
    situation: Situation
    placement: tuple[ReplicaGoal, ...]
    predicted: float
    summary: str
    outcome: CaseOutcome | None = None
    stood: float = 0.0
    source: str = ""
    roles: tuple[Role, ...] = ()
    alpha: float | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """What a placement can be carried out on: nodes alive and models known, each with its memory in GiB."""

    nodes: tuple[tuple[str, float], ...]
    models: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class RecalledCase:
    """merit: how much worse than it should have the case came out, ln, 0 as it should (memory.ranking); None: not
    known. part: of its replicas, what can be carried out now."""

    case: Case
    distance: float
    merit: float | None = None
    part: float = 1.0
