"""A scenario: nodes, models, links, workload and events of a run, as a YAML file says them.

The records below are the format: field names are its keys, defaults its defaults. `*_s` counts from the start of
the run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag

from edgewise.domain.intent import Intent
from edgewise.domain.model import Task
from evals.traces import DEFAULT_MODELS, ModelClass

CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)

Id = Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]


def _no_switch(value: Any) -> Any:
    if isinstance(value, bool):  # YAML reads `yes` as true, and pydantic would read that as 1
        raise ValueError("a number is needed, not a yes or no")
    return value


_Number = BeforeValidator(_no_switch)
Positive = Annotated[float, Field(gt=0), _Number]
NotNegative = Annotated[float, Field(ge=0), _Number]
AtLeastOne = Annotated[int, Field(ge=1), _Number]


@dataclass(frozen=True, slots=True)
class Power:
    """Watts of a node without and with work."""

    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    idle: NotNegative = 0.0
    busy: NotNegative = 0.0


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """count: in a file, this many nodes alike, called id-1, id-2, …; reading a scenario writes them out."""

    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    id: Id
    memory_gib: Positive
    speed: Positive = 1.0
    power_w: Power | None = None
    count: AtLeastOne | None = None


@dataclass(frozen=True, slots=True)
class LinkEntry:
    """latency_ms is one way; bandwidth_mbps in Mbit/s."""

    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    latency_ms: NotNegative = 0.0
    bandwidth_mbps: Positive = 1000.0


@dataclass(frozen=True, slots=True)
class PairEntry:
    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    a: Id
    b: Id
    latency_ms: NotNegative = 0.0
    bandwidth_mbps: Positive = 1000.0


@dataclass(frozen=True, slots=True)
class Links:
    """contention: transfers share a link's bandwidth."""

    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    default: LinkEntry = field(default_factory=LinkEntry)
    pairs: tuple[PairEntry, ...] = ()
    contention: bool = False


@dataclass(frozen=True, slots=True)
class LoadTime:
    """Seconds from load to ready; log-normal, not scaled by speed."""

    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    mean: Positive
    cv: NotNegative = 0.2


Distribution = Literal["lognormal", "exponential", "deterministic"]


@dataclass(frozen=True, slots=True)
class MeanService:
    """Service seconds on speed 1.0, alone, whatever the size."""

    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    mean: Positive
    cv: NotNegative = 0.5
    distribution: Distribution = "lognormal"


@dataclass(frozen=True, slots=True)
class SizedService:
    """Service seconds by size, fed from the trace; `cv` is the spread that size does not explain."""

    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    base: NotNegative
    per_input_token: NotNegative = 0.0
    per_output_token: NotNegative = 0.0
    per_image: NotNegative = 0.0
    per_step: NotNegative = 0.0
    cv: NotNegative = 0.0
    distribution: Distribution = "lognormal"


def _service_form(value: Any) -> str:
    if isinstance(value, dict):
        return "mean" if "mean" in value or "base" not in value else "sized"
    return "mean" if isinstance(value, MeanService) else "sized"


Service = Annotated[
    Annotated[MeanService, Tag("mean")] | Annotated[SizedService, Tag("sized")], Discriminator(_service_form)
]
Discipline = Literal["fifo", "ps"]


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """service: discipline inside this model's queue, None: the scenario's. batch_curve: speed of the whole engine
    with 1, 2, … prompts running at once, relative to one; empty: all 1, they share what one would have."""

    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    id: Id
    task: Task
    memory_gib: Positive
    load_s: LoadTime
    service_s: Service
    max_concurrency: AtLeastOne = 1
    request_kib: NotNegative = 2.0
    response_kib: NotNegative = 2.0
    deadline_s: Positive = 60.0
    service: Discipline | None = None
    batch_curve: tuple[Positive, ...] = ()

    @property
    def speedups(self) -> tuple[float, ...]:
        """batch_curve written out: one figure for each number of prompts up to max_concurrency."""
        return self.batch_curve or (1.0,) * self.max_concurrency


@dataclass(frozen=True, slots=True)
class TraceEntry:
    """One trace. file: absolute, or a name of the folder of traces. model: None: the class's default. share: part
    of all prompts; rate_scale: how much faster the trace's clock runs. Rows in [start_s, until_s) of the trace's
    clock are used, until_s None: to its end."""

    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    file: Annotated[str, Field(min_length=1)]
    model_class: ModelClass | None = None
    model: Id | None = None
    share: Positive | None = None
    rate_scale: Positive | None = None
    start_s: NotNegative = 0.0
    until_s: Positive | None = None


@dataclass(frozen=True, slots=True)
class SyntheticEntry:
    """Generated arrivals of one model. mmpp: bursts of mean length burst_s in which the rate is burst_ratio times
    that of the calm between them, which lasts burst_ratio times as long: half of the prompts come in bursts. The mean
    rate is rate_per_s. burst_group: entries that name the same group burst together."""

    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    model: Id
    rate_per_s: Positive
    process: Literal["poisson", "mmpp", "deterministic"] = "poisson"
    burst_ratio: Annotated[float, Field(ge=1), _Number] = 4.0
    burst_s: Positive = 60.0
    burst_group: Id | None = None


@dataclass(frozen=True, slots=True)
class WorkloadEntry:
    """Either traces or synthetic. spatial: relative shares of prompts by access node, empty: all alike.
    target_load: offered work over capacity; with synthetic arrivals it scales their rates by one factor."""

    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    traces: tuple[TraceEntry, ...] = ()
    synthetic: tuple[SyntheticEntry, ...] = ()
    spatial: dict[str, NotNegative] = field(default_factory=dict)
    target_load: Positive | None = None


@dataclass(frozen=True, slots=True)
class Hints:
    """What the dispatcher knows of a prompt's size. noise: spread of its error, σ of the logarithm; 0: none."""

    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    noise: NotNegative = 0.4


@dataclass(frozen=True, slots=True)
class Beliefs:
    """How far what policies believe of service times is off: believed / true. service_factor: of the models named;
    spread: that of each other model is drawn per seed between the two, log-uniformly. Empty: beliefs are right."""

    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    service_factor: dict[str, Positive] = field(default_factory=dict)
    spread: tuple[Positive, Positive] | None = None


@dataclass(frozen=True, slots=True)
class NodeDown:
    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    at_s: NotNegative
    kind: Literal["node-down"]
    node: Id


@dataclass(frozen=True, slots=True)
class NodeUp:
    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    at_s: NotNegative
    kind: Literal["node-up"]
    node: Id


@dataclass(frozen=True, slots=True)
class NodeSlow:
    """factor: what the node's speed is divided by."""

    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    at_s: NotNegative
    kind: Literal["node-slow"]
    node: Id
    factor: Positive


@dataclass(frozen=True, slots=True)
class TelemetryStale:
    """Figures stop being refreshed; node None: of all nodes."""

    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    at_s: NotNegative
    kind: Literal["telemetry-stale"]
    for_s: Positive
    node: Id | None = None


@dataclass(frozen=True, slots=True)
class PopularityShift:
    """shares: new parts of all prompts by model; models not named keep theirs."""

    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    at_s: NotNegative
    kind: Literal["popularity-shift"]
    shares: dict[str, NotNegative]


Event = Annotated[
    NodeDown | NodeUp | NodeSlow | TelemetryStale | PopularityShift,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole scenario. service: discipline inside one model's queue on a node; shedding: for every policy alike;
    initial: models that stand on a node at the start; host_cores: cores that all nodes share, None: own ones.
    announcements: intents that policies which can use them are told before the run."""

    __pydantic_config__: ClassVar[ConfigDict] = CONFIG
    name: Id
    nodes: Annotated[tuple[NodeEntry, ...], Field(min_length=1)]
    models: Annotated[tuple[ModelEntry, ...], Field(min_length=1)]
    workload: WorkloadEntry
    duration_s: Positive
    seed: Annotated[int, _Number] = 1
    slot_s: Positive = 30.0
    epoch_slots: AtLeastOne = 10
    shedding: bool = False
    service: Discipline = "fifo"
    host_cores: Positive | None = None
    hints: Hints = field(default_factory=Hints)
    beliefs: Beliefs = field(default_factory=Beliefs)
    links: Links = field(default_factory=Links)
    initial: dict[str, tuple[str, ...]] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    announcements: tuple[Intent, ...] = ()

    def model(self, model_id: str) -> ModelEntry:
        return next(m for m in self.models if m.id == model_id)

    def node(self, node_id: str) -> NodeEntry:
        return next(n for n in self.nodes if n.id == node_id)

    @property
    def capacity(self) -> float:
        """Service seconds per second that all nodes together can do."""
        speed = sum(n.speed for n in self.nodes)
        return speed if self.host_cores is None else min(speed, self.host_cores)

    def discipline(self, model_id: str) -> Discipline:
        """How prompts for one model share a node."""
        return self.model(model_id).service or self.service


def model_of(entry: TraceEntry) -> str:
    """The model that a trace's prompts go to."""
    if entry.model is not None:
        return entry.model
    return DEFAULT_MODELS[entry.model_class] if entry.model_class is not None else ""
