"""What one decision starts from and what passes between its steps: frozen, plain, JSON-able."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from edgewise.control.forecast import Track
from edgewise.control.lift import Trust
from edgewise.control.residual import Residuals
from edgewise.domain.decision import LlmUse, Mode, Rung
from edgewise.domain.intent import Intent
from edgewise.domain.observation import Observation, ReplicaFact, ReplicaLoad
from edgewise.domain.plan import Change, Plan, ReplicaGoal
from edgewise.domain.records import RecalledCase, SlotSummary
from edgewise.optimise.estimate import Evaluate
from edgewise.optimise.problem import Problem


class Future(Protocol):
    """Demand that is known: an evaluation's clairvoyant has one, a live controller never."""

    def evaluate(self, p: Problem) -> Evaluate:
        """Objectives of plans from now on, on what will really come within the problem's horizon."""
        ...


@dataclass(frozen=True, slots=True)
class Proposed:
    """A plan someone proposes. source: optimiser | llm | llm-scheduler | incumbent | case | roll-back, as in
    Candidate."""

    source: str
    plan: Plan
    rung: Rung = Rung.OPTIMISER
    note: str = ""


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What the planner found in the background. A slot that takes it records its id."""

    id: str
    epoch: int
    at_s: float
    plans: tuple[Proposed, ...]
    recalled: tuple[str, ...] = ()
    llm: LlmUse = field(default_factory=LlmUse)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RouteTimes:
    """The weight of sending `model` from `access_node` (ANY: all) to `node`, multiplied."""

    access_node: str
    model: str
    node: str
    times: float


@dataclass(frozen=True, slots=True)
class ShareTimes:
    """The share of `model` on `node`, multiplied."""

    node: str
    model: str
    times: float


@dataclass(frozen=True, slots=True)
class Reweighting:
    """A scheduler's correction of the optimiser's weights and shares, made beside the slots from the observation of
    `slot`. note: what was repaired; reason: the scheduler's own."""

    id: str
    slot: int
    routes: tuple[RouteTimes, ...] = ()
    shares: tuple[ShareTimes, ...] = ()
    rung: Rung = Rung.LLM
    note: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LastAsked:
    """What the planner's model saw when it last answered: why it was asked, in which epoch, which replicas were
    wanted, prompts per second by model, intents by id. seconds: its longest call."""

    trigger: str
    epoch: int
    replicas: tuple[ReplicaGoal, ...]
    rates: tuple[tuple[str, float], ...]
    seconds: float = 0.0
    intents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Declined:
    """A placement that a person said no to (in approval `id`). It is not asked for again up to slot `until`."""

    id: str
    replicas: tuple[ReplicaGoal, ...]
    until: int
    by: str = ""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a slot (or an epoch) is started with, before anything is observed.

    track, residuals: demand and seen service as followed up to the slot before. alive_before: nodes alive at the last
    slot. result: the last finished epoch result (None: none yet, or too old); result_new: no decision has taken it.
    asked: loads and drops asked for since the epoch began (the thrash budget's other side). observation: given when
    replayed or handed on from a slot; else it is made. offers: placements to go back to, for the gate to judge.
    trust: what past decisions' outcomes make it ask for. intents: the operator's, those in force or still to come.
    lately: summaries of the slots before, oldest first; last_asked: None before the planner's first answer (both for
    an epoch). declined: placements that a person does not want. stood: what intents did at the last slot, in words
    (announced.standing). reweighting: a scheduler's, ready and not taken yet. beside: what models cost beside the
    slots since the last one. llm_rests: why the language model is not asked now; empty: it is.
    """

    decision_id: str
    slot: int
    incumbent: Plan | None = None
    track: Track = field(default_factory=Track)
    mode: Mode = Mode.ACTIVE
    alive_before: tuple[str, ...] = ()
    result: EpochResult | None = None
    result_new: bool = False
    asked: int = 0
    notes: tuple[str, ...] = ()
    observation: Observation | None = None
    offers: tuple[Proposed, ...] = ()
    trust: Trust = field(default_factory=Trust)
    residuals: Residuals = field(default_factory=Residuals)
    intents: tuple[Intent, ...] = ()
    lately: tuple[SlotSummary, ...] = ()
    last_asked: LastAsked | None = None
    declined: tuple[Declined, ...] = ()
    llm_rests: str = ""
    stood: tuple[str, ...] = ()
    reweighting: Reweighting | None = None
    beside: LlmUse = field(default_factory=LlmUse)


@dataclass(frozen=True, slots=True)
class Job:
    """All inputs of one decision; fields as in Ticket. The same job gives the same decision. track, residuals:
    as followed up to and including `observation`. cases: recalled, nearest first."""

    decision_id: str
    observation: Observation
    incumbent: Plan | None
    track: Track
    mode: Mode = Mode.ACTIVE
    result: EpochResult | None = None
    result_new: bool = False
    asked: int = 0
    notes: tuple[str, ...] = ()
    cases: tuple[RecalledCase, ...] = ()
    offers: tuple[Proposed, ...] = ()
    trust: Trust = field(default_factory=Trust)
    residuals: Residuals = field(default_factory=Residuals)
    intents: tuple[Intent, ...] = ()
    lately: tuple[SlotSummary, ...] = ()
    last_asked: LastAsked | None = None
    declined: tuple[Declined, ...] = ()
    llm_rests: str = ""
    reweighting: Reweighting | None = None
    beside: LlmUse = field(default_factory=LlmUse)


@dataclass(frozen=True, slots=True)
class NodeBrief:
    """What a node's deployment agent sees: the changes a plan wants there, and the node's own facts."""

    plan_id: str
    node: str
    changes: tuple[Change, ...]
    replicas: tuple[ReplicaFact, ...]
    loads: tuple[ReplicaLoad, ...]
    budget_gib: float
    need_gib: tuple[tuple[str, float], ...]
    load_s: tuple[tuple[str, float], ...]
    alone: tuple[str, ...]  # models with no ready replica anywhere
    at_s: float
    age_s: float
    stale_after_s: float


@dataclass(frozen=True, slots=True)
class Veto:
    change: Change
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """A change that is to begin `wait_s` seconds after the decision at the earliest."""

    change: Change
    wait_s: float


@dataclass(frozen=True, slots=True)
class NodeOrder:
    """A deployment agent's answer: its node's changes in the order to carry them out, those it refuses, and those it
    delays."""

    plan_id: str
    node: str
    order: tuple[Change, ...]
    vetoes: tuple[Veto, ...] = ()
    note: str = ""
    waits: tuple[Wait, ...] = ()
