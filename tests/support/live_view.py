"""An in-memory live ControlView for tests: it shows what it is told, moves on by `advance`, takes a mode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.decision import Mode
from edgewise.domain.model import Task
from edgewise.domain.plan import ANY, Plan, ReplicaGoal, Route, Source
from edgewise.domain.records import PromptRow, PromptStatus, ReplicaRow
from serving.control_api.schema import (
    CandidateRow,
    ChangeRow,
    DecisionDetail,
    DecisionEvent,
    DecisionRow,
    Event,
    Fairness,
    ModelView,
    NodeView,
    PromptEvent,
    ReplicaEvent,
    ReplicaView,
    RunState,
)
from serving.control_api.view import Cursor, Streamed, UnknownDecision

PLAN = Plan(
    "plan-1", Source.OPTIMISER, 0.0, 16.0, (ReplicaGoal("edge-1", "gpt2"),), (Route(ANY, "gpt2", "edge-1", 1.0),)
)


class LiveView:
    """Two nodes, two models. Each `advance` is one slot: a prompt answered, a decision made."""

    def __init__(self, empty: bool = False) -> None:
        self._mode = Mode.ACTIVE
        self._decisions: list[DecisionRow] = []
        self._plans: list[Plan] = []
        self._events: list[Event] = []
        self._moved = asyncio.Condition()
        self.listening = asyncio.Event()  # set once a subscriber waits for what comes
        self.slot = 0
        if not empty:
            self._step()

    async def advance(self) -> None:
        async with self._moved:
            self._step()
            self._moved.notify_all()

    def _step(self) -> None:
        self.slot += 1
        at_s = 4.0 * self.slot
        plan = replace(PLAN, id=f"plan-{self.slot}", made_at_s=at_s, expires_s=at_s + 16)
        row = PromptRow(
            id=f"p-{self.slot}",
            model="gpt2",
            access_node="edge-2",
            node="edge-1",
            arrived_s=at_s - 1,
            started_s=at_s - 0.9,
            finished_s=at_s - 0.5,
            status=PromptStatus.COMPLETED,
            decision=f"d-{self.slot}",
            attempts=1,
            deadline_s=10.0,
            ideal_s=0.25,
        )
        self._events.append(PromptEvent(seq=len(self._events) + 1, prompt=row))
        step = ReplicaRow("load", at_s, "edge-2", "blip", f"d-{self.slot}")
        self._events.append(ReplicaEvent(seq=len(self._events) + 1, replica=step))
        before = self._plans[-1].id if self._plans else ""
        self._plans.append(plan)
        self._decisions.append(_decision(self.slot, at_s, self._mode, plan, before))

    async def state(self) -> RunState:
        if not self.slot:
            return RunState(at_s=0.0, slot=0, epoch=0, mode=self._mode, run="runs/live")
        slowdown = 2.0 + self.slot / 100
        return RunState(
            at_s=4.0 * self.slot,
            slot=self.slot,
            epoch=self.slot // 5,
            mode=self._mode,
            run="runs/live",
            window_s=20.0,
            plan=self._plans[-1],
            fairness=Fairness(jain=0.9, jain_normalized=0.8, x={"gpt2": 1 / slowdown, "blip": 0.9}),
            models=[
                ModelView(
                    model="gpt2",
                    task=Task.TEXT_GENERATION,
                    arrivals=self.slot + 3,
                    completed=self.slot,
                    waiting=1,
                    queued=2,
                    in_flight=1,
                    replicas=1,
                    mean_latency_s=0.5,
                    p95_latency_s=1.25,
                    slowdown=slowdown,
                    deadline_s=10.0,
                    age_s=0.5,
                ),
                ModelView(model="blip", task=Task.IMAGE_TO_TEXT, arrivals=0, completed=0, age_s=0.5),
            ],
            nodes=[
                NodeView(
                    node="edge-1",
                    alive=True,
                    memory_gib=6.0,
                    memory_used_gib=3.0,
                    age_s=0.4,
                    replicas=[
                        ReplicaView(model="gpt2", state=ReplicaState.READY, queued=2, in_flight=1, since_s=1.0),
                        ReplicaView(model="blip", state=ReplicaState.DRAINING, since_s=2.0),
                    ],
                ),
                NodeView(
                    node="edge-2",
                    alive=False,
                    memory_gib=6.0,
                    memory_used_gib=2.0,
                    age_s=21.0,
                    replicas=[ReplicaView(model="blip", state=ReplicaState.LOADING, since_s=3.0)],
                ),
            ],
        )

    async def decisions(self, limit: int, before: str | None = None) -> Sequence[DecisionRow]:
        end = len(self._decisions) if before is None else self._index(before)
        return self._decisions[max(0, end - limit) : end][::-1]

    async def decision(self, decision_id: str) -> DecisionDetail:
        index = self._index(decision_id)
        return DecisionDetail(
            decision=self._decisions[index], incumbent_plan=self._plans[index - 1] if index else None
        )

    def _index(self, decision_id: str) -> int:
        for index, row in enumerate(self._decisions):
            if row.id == decision_id:
                return index
        raise UnknownDecision(f"no decision {decision_id!r}")

    async def plans(self, limit: int) -> Sequence[Plan]:
        return self._plans[::-1][:limit]

    async def events(self, limit: int, after: int | None = None) -> Sequence[Event]:
        return self._events[-limit:] if after is None else self._events[after : after + limit]

    async def mode(self) -> Mode:
        return self._mode

    async def set_mode(self, mode: Mode) -> None:
        self._mode = mode

    async def subscribe(self, after: Cursor | None = None) -> AsyncIterator[Streamed]:
        seen = after or Cursor(len(self._events), len(self._decisions))
        while True:
            for i in range(seen.events, len(self._events)):
                seen = Cursor(i + 1, seen.decisions)
                yield Streamed(seen, self._events[i])
            for i in range(seen.decisions, len(self._decisions)):
                seen = Cursor(seen.events, i + 1)
                yield Streamed(seen, DecisionEvent(seq=i + 1, decision=self._decisions[i]))
            async with self._moved:
                if seen == Cursor(len(self._events), len(self._decisions)):
                    self.listening.set()
                    await self._moved.wait()


def _decision(slot: int, at_s: float, mode: Mode, plan: Plan, before: str) -> DecisionRow:
    return DecisionRow(
        id=f"d-{slot}",
        slot=slot,
        epoch=slot // 5,
        at_s=at_s,
        rung="optimiser",
        mode=mode,
        incumbent=before,
        chosen=plan.id,
        runner_up=before,
        margin=0.08,
        required=0.03,
        accepted=True,
        reason=f"the plan of slot {slot} wins",
        candidates=[
            CandidateRow(source="optimiser", plan=plan.id, score=1.8, interval=(1.7, 1.9)),
            CandidateRow(source="incumbent", plan=before, score=1.95, interval=(1.8, 2.1)),
        ],
        changes=[ChangeRow(node="edge-2", model="blip", kind="load", status="refused", why="2.0 GiB do not fit")],
        plan=plan,
    )
