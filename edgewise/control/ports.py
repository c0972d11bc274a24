"""Ports: what the controller needs of the world, as Protocols. tests/contract holds the one spec of each.

All are async; all raise only errors of `edgewise.domain.errors`. Times are seconds on the run clock, whose zero
is the start of the run and which every process of a run shares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from edgewise.domain.decision import Decision
from edgewise.domain.observation import ClusterFacts, TelemetryFacts
from edgewise.domain.plan import Plan
from edgewise.domain.records import (
    Case,
    CaseOutcome,
    PromptRow,
    Reach,
    RecalledCase,
    ReplicaRow,
    Situation,
    SlotSummary,
)


@runtime_checkable
class Clock(Protocol):
    """The run clock. Monotonic; never jumps."""

    def now_s(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


@runtime_checkable
class Cluster(Protocol):
    """Nodes and replicas. Commands start a change and return; `observe` shows how it goes.

    load    absent|failed → loading. Idempotent while loading or ready. Raises UnknownNode, UnknownModel,
            AdmissionRefused (needed, free and budget in GiB are in the message), ClusterUnavailable.
    drain   ready → draining: takes no new prompt, hands queued ones back, lets those in flight finish.
            Idempotent while draining. Raises ReplicaBusy when it is not ready (a loading replica is not evicted).
    unload  draining and idle → absent, memory free when `observe` says absent. Idempotent when absent.
            Raises ReplicaBusy while a prompt is in flight or when it was not drained. A failed replica may be
            unloaded at once.
    share   sets the on-node shares of the models named (relative weights > 0); others keep theirs.
    """

    async def observe(self) -> ClusterFacts: ...

    async def load(self, node: str, model: str) -> None: ...

    async def drain(self, node: str, model: str) -> None: ...

    async def unload(self, node: str, model: str) -> None: ...

    async def share(self, node: str, shares: Mapping[str, float]) -> None: ...

    async def aclose(self) -> None: ...


@runtime_checkable
class Telemetry(Protocol):
    """Figures of nodes and gateway, each with its age. A source that does not answer keeps its last figures,
    which grow older; TelemetryUnavailable is raised only when nothing was ever read from any source."""

    async def read(self) -> TelemetryFacts: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of a query's answer: its labels, sorted, and its newest value."""

    labels: tuple[tuple[str, str], ...]
    value: float


@runtime_checkable
class MetricQuery(Protocol):
    """A telemetry door that answers PromQL, as of now. Raises BadInput for a query the server does not take, with its
    words, TelemetryUnavailable when there is no answer."""

    async def query(self, promql: str) -> Sequence[Sample]: ...


@dataclass(frozen=True, slots=True)
class Ack:
    """A router's word that it routes by `plan_id` since `at_s`."""

    plan_id: str
    at_s: float


@runtime_checkable
class Router(Protocol):
    """The gateway's plan door. `publish` returns when every router routes by the plan (its Ack), or raises
    ClusterUnavailable; until then the old plan rules, and nothing may be drained on the new one's account."""

    async def publish(self, plan: Plan, decision_id: str) -> Ack: ...

    async def aclose(self) -> None: ...


@runtime_checkable
class Journal(Protocol):
    """The durable record. Appends return when the row is spooled (never lost by a slow store); `flush` when it
    is stored. `recent_*` give the newest `count` rows, oldest first. A decision journalled again under its id (its
    realised outcome is known now) replaces the first."""

    async def decision(self, decision: Decision) -> None: ...

    async def replica(self, row: ReplicaRow) -> None: ...

    async def slot(self, summary: SlotSummary) -> None: ...

    async def recent_decisions(self, count: int) -> Sequence[Decision]: ...

    async def recent_slots(self, count: int) -> Sequence[SlotSummary]: ...

    async def flush(self) -> None: ...

    async def aclose(self) -> None: ...


@runtime_checkable
class History(Protocol):
    """Prompts that ended, as the gateways recorded them; those that arrived in [from_s, until_s), in any order."""

    async def prompts(self, from_s: float, until_s: float) -> Sequence[PromptRow]: ...


@runtime_checkable
class Memory(Protocol):
    """Episodic case memory. `recall` gives at most `count` scored cases, nearest situation first; only cases
    whose outcome is known, no two alike where there are others near. reach: leaves out what cannot be carried out
    there (None: nothing is left out). both: of good and bad examples at least one each, where there is one near.

    `remember` upserts by case id; `score` adds the measured outcome to one, or to the case that it became part of: a
    case that repeats the situation and the placement of another adds to its means and is one with it. A second score
    of a case is a second look at the same measurement, not another one.
    """

    async def recall(
        self, situation: Situation, count: int, reach: Reach | None = None, *, both: bool = False
    ) -> Sequence[RecalledCase]: ...

    async def remember(self, case: Case) -> None: ...

    async def score(self, case_id: str, outcome: CaseOutcome) -> None: ...

    async def count(self) -> int: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool a language model may call. `parameters` is the JSON schema of its arguments."""

    name: str
    description: str
    parameters: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model asks for. `arguments` is its text, which may be anything."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """A turn after the first question. role: assistant (its text and calls), tool (the answer to `call_id`), user."""

    role: str
    text: str
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One call of a language model. `schema` is the JSON schema of the answer asked for; `key` names the call
    in recordings together with the hash of its input. history: the turns after `user`, oldest first. tools: what the
    model may call in its answer; none where a final answer is asked for. Beside tools a schema is sent only where the
    server takes no tools. model: its id; empty: the door's. prompt: SHA-256 of the template the texts came from."""

    key: str
    system: str
    user: str
    schema: Mapping[str, object] | None = None
    max_tokens: int = 1024
    temperature: float = 0.0
    history: tuple[ChatTurn, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    model: str = ""
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class ChatReply:
    """`tokens`: of prompt and answer; `answer_tokens`: those of the answer among them."""

    text: str
    finish_reason: str
    tokens: int
    seconds: float
    calls: tuple[ToolCall, ...] = ()
    answer_tokens: int = 0


@runtime_checkable
class ChatModel(Protocol):
    """A language model. Raises ChatUnavailable for everything that is not an answer."""

    async def ask(self, request: ChatRequest, timeout_s: float) -> ChatReply: ...

    async def aclose(self) -> None: ...
