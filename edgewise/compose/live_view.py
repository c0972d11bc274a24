"""The control API's view of a running controller: history from its run directory, state and mode from memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.codec import to_plain
from edgewise.domain.decision import Decision, Mode, Realised
from edgewise.domain.measures import jain, jain_normalized
from edgewise.domain.observation import ClusterFacts, ModelFact, NodeFact, Observation, TelemetryFacts
from edgewise.domain.plan import Plan
from edgewise.domain.world import World
from serving.control_api.run_view import RunView
from serving.control_api.schema import (
    DecisionDetail,
    DecisionRow,
    Fairness,
    ModelView,
    NodeView,
    RealisedRow,
    ReplicaView,
    RunState,
)
from tools.rundir import decision_row


@dataclass(frozen=True, slots=True)
class Seen:
    """What the controller knows at one instant of the run clock. realised: of recent decisions, by id: their lines in
    the run directory get it only at the end. asked_for: recent decisions that a person was asked about, by id, as
    they are on record now; approvals_waiting: how many of the requests wait. llm_rests: as in RunState."""

    now_s: float
    slot: int
    epoch: int
    mode: Mode
    plan: Plan | None
    observation: Observation | None
    cluster: ClusterFacts
    telemetry: TelemetryFacts
    realised: Mapping[str, Realised] = field(default_factory=dict)
    asked_for: Mapping[str, Decision] = field(default_factory=dict)
    approvals_waiting: int = 0
    llm_rests: str = ""


class LiveView(RunView):
    """Implements ControlView. `look` gives what is known now, `steer` sets the mode of the next decision."""

    def __init__(self, run: Path, world: World, look: Callable[[], Seen], steer: Callable[[Mode], None]) -> None:
        super().__init__(run)
        self._world, self._look, self._steer = world, look, steer

    async def state(self) -> RunState:
        return live_state(self._look(), self._world, str(self.run))

    async def decisions(self, limit: int, before: str | None = None) -> Sequence[DecisionRow]:
        seen = self._look()
        return [_as_known(row, seen) for row in await super().decisions(limit, before)]

    async def decision(self, decision_id: str) -> DecisionDetail:
        found = await super().decision(decision_id)
        return found.model_copy(update={"decision": _as_known(found.decision, self._look())})

    async def mode(self) -> Mode:
        return self._look().mode

    async def set_mode(self, mode: Mode) -> None:
        self._steer(mode)


def _as_known(row: DecisionRow, seen: Seen) -> DecisionRow:
    """A line of the run directory with what is known by now."""
    if row.id in seen.asked_for:
        row = DecisionRow.model_validate(decision_row(seen.asked_for[row.id]))
    if row.realised is not None or row.id not in seen.realised:
        return row
    return row.model_copy(update={"realised": RealisedRow.model_validate(to_plain(seen.realised[row.id]))})


def live_state(seen: Seen, world: World, run: str) -> RunState:
    """Facts as the control API shows them; ages count up to now."""
    models = _models(seen, world)
    x = {m.model: 1 / m.slowdown for m in models if m.slowdown is not None}
    return RunState(
        at_s=seen.now_s,
        slot=seen.slot,
        epoch=seen.epoch,
        mode=seen.mode,
        run=run,
        source="live",
        window_s=max((m.window_s for m in seen.telemetry.models), default=None),
        approvals_waiting=seen.approvals_waiting,
        llm_rests=seen.llm_rests,
        plan=seen.plan,
        lease_expired=seen.plan is not None and seen.now_s > seen.plan.expires_s,
        observation=seen.observation,
        fairness=Fairness(
            jain=jain(list(x.values())) if x else None,
            jain_normalized=jain_normalized(list(x.values())) if x else None,
            x=x,
        ),
        models=models,
        nodes=[_node(n, seen) for n in seen.cluster.nodes],
    )


def _models(seen: Seen, world: World) -> list[ModelView]:
    facts = {m.model: m for m in seen.telemetry.models}
    views = []
    for spec in world.models:
        fact = facts.get(spec.id)
        loads = [load for load in seen.telemetry.loads if load.model == spec.id]
        ready = [r for r in seen.cluster.replicas if r.model == spec.id and r.state is ReplicaState.READY]
        views.append(
            ModelView(
                model=spec.id,
                task=spec.task,
                arrivals=sum(d.arrivals for d in seen.telemetry.demand if d.model == spec.id),
                completed=fact.completed if fact else 0,
                failed=fact.failed if fact else 0,
                shed=fact.shed if fact else 0,
                waiting=fact.waiting if fact else 0,
                queued=sum(load.queued for load in loads),
                in_flight=sum(load.in_flight for load in loads),
                replicas=len(ready),
                mean_latency_s=fact.mean_latency_s if fact else None,
                p95_latency_s=fact.p95_latency_s if fact else None,
                slowdown=_slowdown(fact, world.ideal_s(spec, spec.mean_service_s)),
                deadline_s=spec.deadline_s,
                age_s=fact.age_s + _since(seen, seen.telemetry.at_s) if fact else None,
            )
        )
    return views


def _slowdown(fact: ModelFact | None, ideal_s: float) -> float | None:
    if fact is None or fact.mean_latency_s is None or ideal_s <= 0:
        return None
    return max(1.0, fact.mean_latency_s / ideal_s)


def _since(seen: Seen, at_s: float) -> float:
    return max(0.0, seen.now_s - at_s)


def _node(node: NodeFact, seen: Seen) -> NodeView:
    loads = {load.model: load for load in seen.telemetry.loads if load.node == node.node}
    old_s = _since(seen, seen.cluster.at_s)
    replicas = []
    for r in seen.cluster.replicas:
        if r.node != node.node or r.state is ReplicaState.ABSENT:
            continue
        load = loads.get(r.model)
        replicas.append(
            ReplicaView(
                model=r.model,
                state=r.state,
                queued=load.queued if load else 0,
                in_flight=load.in_flight if load else 0,
                since_s=r.since_s,
                age_s=r.age_s + old_s,
            )
        )
    return NodeView(
        node=node.node,
        alive=node.alive,
        memory_gib=node.memory_gib,
        memory_used_gib=node.memory_used_gib,
        age_s=node.age_s + old_s,
        replicas=sorted(replicas, key=lambda r: r.model),
    )
