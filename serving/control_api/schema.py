"""The JSON shapes of /control/v1. All `*_s` are seconds; `at_s`-like fields count from the start of the run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.decision import Approval, Hindsight, Mode
from edgewise.domain.intent import Intent
from edgewise.domain.model import Task
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Plan
from edgewise.domain.records import PromptRow, ReplicaRow


class Shape(BaseModel):
    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class ReplicaView(Shape):
    """A replica that is not absent. `queued` and `in_flight` are prompts."""

    model: str
    state: ReplicaState
    queued: int = 0
    in_flight: int = 0
    since_s: float = Field(description="Run-clock second at which this state began.")
    age_s: float | None = Field(default=None, description="Age of these figures, s; null in a stored run.")


class NodeView(Shape):
    node: str
    alive: bool
    memory_gib: float | None = Field(default=None, description="Budget, GiB; null when the run does not say.")
    memory_used_gib: float | None = Field(default=None, description="Held by replicas, as the catalogue counts, GiB.")
    age_s: float | None = Field(default=None, description="Age of these figures, s; null in a stored run.")
    replicas: list[ReplicaView] = Field(default_factory=list)


class ModelView(Shape):
    """How one kind of prompt fares, over the state's window. Latencies are null when no prompt arrived."""

    model: str
    task: Task | None = None
    arrivals: int = Field(description="Prompts that arrived.")
    completed: int = Field(description="Prompts answered.")
    waiting: int = Field(default=0, description="Prompts held at the gateway because no replica is ready.")
    queued: int = Field(default=0, description="Prompts queued at nodes.")
    in_flight: int = Field(default=0, description="Prompts being served.")
    replicas: int = Field(default=0, description="Ready replicas.")
    failed: int = 0
    shed: int = 0
    mean_latency_s: float | None = None
    p50_latency_s: float | None = None
    p95_latency_s: float | None = None
    slowdown: float | None = Field(default=None, description="Mean latency / mean ideal latency, at least 1.")
    deadline_s: float | None = None
    age_s: float | None = Field(default=None, description="Age of these figures, s; null in a stored run.")


class Fairness(Shape):
    """Jain's index over x_m = 1 / slowdown of the models that had arrivals."""

    jain: float | None = Field(default=None, description="Raw index, in [1/n, 1].")
    jain_normalized: float | None = Field(default=None, description="(J − 1/n)/(1 − 1/n), in [0, 1].")
    x: dict[str, float] = Field(default_factory=dict, description="x_m = 1 / slowdown, by model.")


class RunState(Shape):
    """The run at one instant: the newest one, or the last one of a stored run."""

    at_s: float = Field(description="Run-clock second the figures stand for.")
    slot: int
    epoch: int
    mode: Mode
    run: str = Field(default="", description="The run directory.")
    source: Literal["live", "stored"] = "live"
    finished: bool = Field(
        default=False, description="True when the run has ended and nothing here changes any more."
    )
    read_only: bool = False
    window_s: float | None = Field(default=None, description="Window of the model figures, s; null: since the start.")
    approvals_waiting: int = Field(default=0, description="Requests that wait for a person.")
    llm_rests: str = Field(
        default="", description="Why the language model is not asked now: demoted, or budget spent."
    )
    plan: Plan | None = None
    lease_expired: bool = False
    observation: Observation | None = None
    fairness: Fairness = Fairness()
    models: list[ModelView] = Field(default_factory=list)
    nodes: list[NodeView] = Field(default_factory=list)


class CandidateRow(Shape):
    """A plan the gate compared. Score: the predicted objective, lower is better; interval: 95 %."""

    model_config = ConfigDict(extra="allow")

    source: str = Field(validation_alias=AliasChoices("from", "source"), serialization_alias="from")
    plan: str = Field(default="", description="Id of the plan compared.")
    score: float | None
    interval: tuple[float, float] | None = None
    note: str = ""


class ChangeRow(Shape):
    """A difference between goal and fact. `kind` is load, drain, unload, weight or share."""

    node: str
    model: str = ""
    kind: str
    status: str = Field(default="", description="done | pending | refused | skipped; empty: not reported.")
    detail: str = ""
    why: str = Field(default="", description="Why it was refused, skipped or is pending.")


class LlmRow(Shape):
    calls: int = 0
    tokens: int = 0
    seconds: float = 0.0
    repairs: int = 0
    reasks: int = 0
    fallbacks: int = 0
    error: str = ""
    skipped: int = Field(default=0, description="Calls not made because nothing had changed.")
    cost: float = Field(default=0.0, description="In the currency of the prices set.")
    tool_calls: int = 0


class LiftRow(Shape):
    """Relative gain of the language model's plan over the optimiser's."""

    predicted: float | None = None
    realised: float | None = Field(default=None, description="In hindsight; null before that is known.")


class RealisedRow(Shape):
    """What really happened in the slots after the decision."""

    slots: int
    completed: int
    mean_latency_s: float | None = None
    objective: float | None = None
    hindsight: Hindsight | None = Field(
        default=None, description="The candidates again, on the prompts that came, once these are known."
    )


class DecisionRow(Shape):
    """One line of decisions.jsonl; fields it has beyond these are passed on."""

    model_config = ConfigDict(extra="allow")

    id: str
    slot: int
    epoch: int
    at_s: float
    rung: str
    mode: Mode
    incumbent: str = Field(description="Id of the plan in force before.")
    chosen: str = Field(description="Id of the plan decided for.")
    runner_up: str = ""
    margin: float | None = Field(default=None, description="Predicted relative gain of chosen over runner-up.")
    required: float | None = Field(default=None, description="Gain it had to exceed to replace the incumbent.")
    accepted: bool | None = Field(default=None, description="Whether the gate let it replace the incumbent.")
    reason: str = ""
    candidates: list[CandidateRow] = Field(default_factory=list)
    recalled: list[str] = Field(default_factory=list, description="Ids of the past cases looked at.")
    changes: list[ChangeRow] = Field(default_factory=list)
    llm: LlmRow = Field(default_factory=LlmRow)
    lift: LiftRow | None = Field(default=None, description="Where both were compared.")
    llm_rests: str = Field(default="", description="Why the language model was not asked: demoted, or budget spent.")
    realised: RealisedRow | None = None
    plan: Plan | None = None
    epoch_result: str = Field(default="", description="Id of the epoch result this slot took as input.")
    trigger: str = "slot"
    notes: list[str] = Field(default_factory=list)
    approval: Approval | None = Field(default=None, description="Where a person was asked first.")


class DecisionDetail(Shape):
    decision: DecisionRow
    incumbent_plan: Plan | None = Field(
        default=None, description="The plan in force before, where the run still has it."
    )


class DecisionList(Shape):
    items: list[DecisionRow] = Field(description="Newest first.")


class PlanList(Shape):
    items: list[Plan] = Field(description="Newest first; each plan once.")


class PromptEvent(Shape):
    type: Literal["prompt"] = "prompt"
    seq: int = Field(description="Position among the run's events, from 1.")
    prompt: PromptRow


class ReplicaEvent(Shape):
    type: Literal["replica"] = "replica"
    seq: int = Field(description="Position among the run's events, from 1.")
    replica: ReplicaRow


class DecisionEvent(Shape):
    """Only in the event stream."""

    type: Literal["decision"] = "decision"
    seq: int = Field(description="Position among the run's decisions, from 1.")
    decision: DecisionRow


Event = Annotated[PromptEvent | ReplicaEvent, Field(discriminator="type")]
StreamEvent = PromptEvent | ReplicaEvent | DecisionEvent


class EventList(Shape):
    items: list[Event] = Field(description="Oldest first.")


class ModeView(Shape):
    mode: Mode
    read_only: bool = False


class ModeChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    mode: Mode


Status = Literal["draft", "coming", "active", "over"]


class IntentView(Shape):
    """An intent as it is understood. status: draft (to be confirmed), coming, active, or over."""

    id: str
    status: Status
    words: str = Field(description="What it asks for and when, in plain words.")
    intent: Intent
    expires_s: float | None = Field(default=None, description="Run-clock second at which a draft is forgotten.")
    notes: list[str] = Field(default_factory=list, description="What of a sentence was read otherwise or left out.")


class IntentList(Shape):
    items: list[IntentView] = Field(description="In the order they were given, drafts last.")
    sentences: bool = Field(default=False, description="Whether a language model is there to understand sentences.")


class ErrorBody(Shape):
    code: str
    message: str
    where: str = ""
    hint: str = ""


class ErrorShape(Shape):
    """The one error shape."""

    error: ErrorBody
