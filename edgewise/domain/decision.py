"""The decision: a plan plus all that led to it. Its JSON form is one line of decisions.jsonl."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from edgewise.domain.plan import Change, Plan


class Mode(StrEnum):
    """active: decisions are carried out; advisory: made and recorded only; off: nothing is decided."""

    ACTIVE = "active"
    ADVISORY = "advisory"
    OFF = "off"


class Rung(StrEnum):
    """The rung of the ladder a decision's plan came from."""

    LLM = "llm"  # constrained output, valid as it came
    LLM_REPAIRED = "llm-repaired"  # valid after json_repair
    LLM_REASKED = "llm-reasked"
    OPTIMISER = "optimiser"
    LAST_GOOD = "last-good"


@dataclass(frozen=True, slots=True)
class Score:
    """A predicted objective (lower is better): mean over draws and its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Candidate:
    source: str  # optimiser | llm | llm-scheduler | incumbent | case | roll-back
    plan: Plan
    score: Score
    note: str = ""  # what projection changed, in words


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says. `margin` is the predicted relative gain of `chosen` over `runner_up`;
    `required` the gain it had to exceed to be chosen over the incumbent."""

    chosen: str
    runner_up: str
    margin: float
    required: float
    accepted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class LlmUse:
    """What language models cost. skipped: calls not made because nothing had changed. cost: in the currency of the
    prices set. tool_calls: tools run for them."""

    calls: int = 0
    tokens: int = 0
    seconds: float = 0.0
    repairs: int = 0
    reasks: int = 0
    fallbacks: int = 0
    error: str = ""
    skipped: int = 0
    cost: float = 0.0
    tool_calls: int = 0

    def __add__(self, other: LlmUse) -> LlmUse:
        return LlmUse(
            self.calls + other.calls,
            self.tokens + other.tokens,
            self.seconds + other.seconds,
            self.repairs + other.repairs,
            self.reasks + other.reasks,
            self.fallbacks + other.fallbacks,
            other.error or self.error,
            self.skipped + other.skipped,
            self.cost + other.cost,
            self.tool_calls + other.tool_calls,
        )


@dataclass(frozen=True, slots=True)
class ChangeOutcome:
    """A change and what became of it: done | pending | refused | skipped (advisory), with the reason."""

    change: Change
    status: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A candidate in hindsight. predicted: the objective the gate expected; hindsight: what the twin gives it on the
    prompts that really came. predicted_gain, gain: over the incumbent, as the gate counts gains."""

    source: str
    plan: str
    predicted: float
    hindsight: float
    predicted_gain: float
    gain: float


@dataclass(frozen=True, slots=True)
class Hindsight:
    """The candidates of one decision, the incumbent first, re-run from its observation on the `prompts` that came in
    the `horizon_s` seconds after it."""

    horizon_s: float
    prompts: int
    plans: tuple[Replayed, ...]

    def of(self, plan: str) -> Replayed | None:
        return next((x for x in self.plans if x.plan == plan), None)


@dataclass(frozen=True, slots=True)
class Realised:
    """What really happened in the `slots` slots after the decision; scored by `reflect`. hindsight: None until the
    prompts of its horizon are known."""

    slots: int
    completed: int
    mean_latency_s: float | None
    objective: float | None
    hindsight: Hindsight | None = None


class ApprovalState(StrEnum):
    """lapsed: approved in time, but it could not be carried out any more."""

    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    LAPSED = "lapsed"


@dataclass(frozen=True, slots=True)
class Approval:
    """A plan shown to a person, and what came of it. hash: of plan and observation, which a yes must name. plan: id
    of the plan asked for. changes, reason, runner_up: in words; margin and scores as the gate predicted them. by,
    why: who answered, and what there is to say about it; answered_s: when (None while it waits)."""

    id: str
    decision: str
    hash: str
    plan: str
    state: ApprovalState
    asked_s: float
    expires_s: float
    changes: tuple[str, ...]
    reason: str
    runner_up: str
    margin: float
    required: float
    scores: tuple[tuple[str, str, Score], ...] = ()  # (source, plan id, predicted objective)
    by: str = ""
    why: str = ""
    answered_s: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """approval: where a person was asked first; until a yes, `plan` and `chosen` are what the slot went on by.
    llm_rests: why the language model was not asked at that time (demoted, budget spent); empty: it was, or there is
    none."""

    id: str
    slot: int
    epoch: int
    at_s: float
    rung: Rung
    mode: Mode
    incumbent: str  # plan ids
    chosen: str
    runner_up: str
    plan: Plan
    verdict: Verdict
    candidates: tuple[Candidate, ...]
    recalled: tuple[str, ...] = ()
    changes: tuple[ChangeOutcome, ...] = ()
    llm: LlmUse = field(default_factory=LlmUse)
    epoch_result: str = ""  # id of the epoch result this slot took as input, "" when none
    trigger: str = "slot"
    notes: tuple[str, ...] = ()
    realised: Realised | None = None
    approval: Approval | None = None
    llm_rests: str = ""
