"""The rows of a run, and the state they add up to. No clock: a run is as old as its newest row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.decision import Mode
from edgewise.domain.measures import prompt_figures
from edgewise.domain.model import Task
from edgewise.domain.plan import Plan
from edgewise.domain.records import PromptRow, PromptStatus, ReplicaRow
from serving.control_api.schema import DecisionRow, Fairness, ModelView, NodeView, ReplicaView, RunState

STATE_AFTER = {
    "load": ReplicaState.LOADING,
    "ready": ReplicaState.READY,
    "drain": ReplicaState.DRAINING,
    "unload": ReplicaState.ABSENT,
    "failed": ReplicaState.FAILED,
}


@dataclass(slots=True)
class Records:
    """All rows read so far, in the order of their files, and the scenario's mapping."""

    scenario: dict[str, Any] = field(default_factory=dict)
    events: list[PromptRow | ReplicaRow] = field(default_factory=list)
    decisions: list[DecisionRow] = field(default_factory=list)

    @property
    def prompts(self) -> list[PromptRow]:
        return [e for e in self.events if isinstance(e, PromptRow)]

    @property
    def steps(self) -> list[ReplicaRow]:
        return [e for e in self.events if isinstance(e, ReplicaRow)]

    def plans(self) -> dict[str, Plan]:
        """Every plan once, by id, oldest first."""
        return {d.plan.id: d.plan for d in self.decisions if d.plan is not None}

    def end_s(self) -> float:
        """The run-clock second of the newest row; 0 for an empty run."""
        return max((t for t in self._times_s()), default=0.0)

    def _times_s(self) -> Iterator[float]:
        for event in self.events:
            if isinstance(event, ReplicaRow):
                yield event.at_s
            else:
                yield event.arrived_s if event.finished_s is None else event.finished_s
        yield from (d.at_s for d in self.decisions)


@dataclass(frozen=True, slots=True)
class Fact:
    """A replica's state and since when."""

    state: ReplicaState
    since_s: float


@dataclass(slots=True)
class Cluster:
    replicas: dict[tuple[str, str], Fact] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)


def fold_steps(steps: Sequence[ReplicaRow]) -> Cluster:
    """Replica states and dead nodes after all steps. A node that goes down takes its replicas with it."""
    cluster = Cluster()
    for step in steps:
        if step.kind in STATE_AFTER:
            cluster.replicas[step.node, step.model] = Fact(STATE_AFTER[step.kind], step.at_s)
        elif step.kind == "node-up":
            cluster.down.discard(step.node)
        elif step.kind == "node-down":
            cluster.down.add(step.node)
            for key in [k for k in cluster.replicas if k[0] == step.node]:
                cluster.replicas[key] = Fact(ReplicaState.ABSENT, step.at_s)
    return cluster


def entries(scenario: dict[str, Any], key: str) -> dict[str, dict[str, Any]]:
    """The scenario's `nodes` or `models` by id; what is not such an entry is left out."""
    listed = scenario.get(key)
    found = listed if isinstance(listed, list) else []
    return {str(e["id"]): e for e in found if isinstance(e, dict) and "id" in e}


def run_state(records: Records, run: str, finished: bool) -> RunState:
    """The state of a stored run at its newest row; model figures are over the whole run."""
    end_s = records.end_s()
    last = records.decisions[-1] if records.decisions else None
    plan = next((d.plan for d in reversed(records.decisions) if d.plan is not None), None)
    cluster = fold_steps(records.steps)
    figures = prompt_figures(records.prompts, end_s)
    models = _models(records, cluster, figures["per_model"])
    x = {m.model: 1 / m.slowdown for m in models if m.slowdown}
    return RunState(
        at_s=end_s,
        slot=last.slot if last else 0,
        epoch=last.epoch if last else 0,
        mode=last.mode if last else Mode.OFF,
        run=run,
        source="stored",
        finished=finished,
        read_only=True,
        plan=plan,
        lease_expired=plan is not None and end_s > plan.expires_s,
        fairness=Fairness(
            jain=figures["jain"] if x else None, jain_normalized=figures["jain_normalized"] if x else None, x=x
        ),
        models=models,
        nodes=_nodes(records, cluster),
    )


def _unanswered(
    prompts: Sequence[PromptRow],
) -> tuple[Counter[str], Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """Prompts without an answer: waiting by model; queued and in flight by (node, model)."""
    waiting: Counter[str] = Counter()
    queued: Counter[tuple[str, str]] = Counter()
    in_flight: Counter[tuple[str, str]] = Counter()
    for row in prompts:
        if row.status is not PromptStatus.PENDING:
            continue
        if row.node is None:
            waiting[row.model] += 1
        elif row.started_s is None:
            queued[row.node, row.model] += 1
        else:
            in_flight[row.node, row.model] += 1
    return waiting, queued, in_flight


def _models(records: Records, cluster: Cluster, figures: dict[str, dict[str, Any]]) -> list[ModelView]:
    catalogue = entries(records.scenario, "models")
    named = dict.fromkeys([*catalogue, *figures, *sorted({m for _, m in cluster.replicas})])
    waiting, queued, in_flight = _unanswered(records.prompts)
    deadlines = {p.model: p.deadline_s for p in records.prompts}
    ready = Counter(m for (_, m), fact in cluster.replicas.items() if fact.state is ReplicaState.READY)
    tasks = {t.value for t in Task}
    views = []
    for model in named:
        f = figures.get(model, {})
        spec = catalogue.get(model, {})
        views.append(
            ModelView(
                model=model,
                task=Task(spec["task"]) if spec.get("task") in tasks else None,
                arrivals=f.get("prompts_accepted", 0),
                completed=f.get("prompts_completed", 0),
                failed=f.get("prompts_failed", 0),
                shed=f.get("prompts_shed", 0),
                waiting=waiting[model],
                queued=sum(n for (_, m), n in queued.items() if m == model),
                in_flight=sum(n for (_, m), n in in_flight.items() if m == model),
                replicas=ready[model],
                mean_latency_s=f.get("mean_latency_s"),
                p50_latency_s=f.get("p50_latency_s"),
                p95_latency_s=f.get("p95_latency_s"),
                slowdown=f.get("mean_slowdown"),
                deadline_s=deadlines.get(model, _number(spec.get("deadline_s"))),
            )
        )
    return views


def _nodes(records: Records, cluster: Cluster) -> list[NodeView]:
    listed = entries(records.scenario, "nodes")
    needs = {m: _number(e.get("memory_gib")) for m, e in entries(records.scenario, "models").items()}
    seen = {s.node for s in records.steps if s.node}
    for row in records.prompts:
        seen.update(n for n in (row.access_node, row.node) if n)
    _, queued, in_flight = _unanswered(records.prompts)
    views = []
    for node in dict.fromkeys([*listed, *sorted(seen)]):
        facts = {m: f for (n, m), f in cluster.replicas.items() if n == node and f.state is not ReplicaState.ABSENT}
        held = [needs.get(m) for m, f in facts.items() if f.state.holds_memory]
        views.append(
            NodeView(
                node=node,
                alive=node not in cluster.down,
                memory_gib=_number(listed.get(node, {}).get("memory_gib")),
                memory_used_gib=None if None in held else sum(h for h in held if h is not None),
                replicas=[
                    ReplicaView(
                        model=m,
                        state=f.state,
                        since_s=f.since_s,
                        queued=queued[node, m],
                        in_flight=in_flight[node, m],
                    )
                    for m, f in sorted(facts.items())
                ],
            )
        )
    return views


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
