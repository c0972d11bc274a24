"""What to change of a recorded decision before it is made again: settings, observation, the plan itself. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from edgewise.control.intake import take
from edgewise.control.state import Job, Proposed, Ticket
from edgewise.domain.codec import from_plain
from edgewise.domain.decision import Decision
from edgewise.domain.errors import BadInput, UnknownModel, UnknownNode
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Plan, ReplicaGoal, Source
from edgewise.settings import Settings, unknown_key

OPERATOR = "operator"
NOT_OURS = ("llm_api_key",)


@dataclass(frozen=True, slots=True)
class ForkEdit:
    """A fork edit. settings: name → value, as in a settings file. demand: model → factor on the arrivals observed.
    lost: nodes that are taken to be down. add, drop: replicas of the plan as it was decided, put to the gate as an
    operator's. replan: whether the planner looks anew (it does when settings or observation are changed)."""

    settings: dict[str, Any] = field(default_factory=dict)
    demand: dict[str, float] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    add: tuple[ReplicaGoal, ...] = ()
    drop: tuple[ReplicaGoal, ...] = ()
    replan: bool = True

    @property
    def observes(self) -> bool:
        return bool(self.demand or self.lost)

    @property
    def plans(self) -> bool:
        return bool(self.add or self.drop)


KEYS = tuple(f.name for f in fields(ForkEdit))


def edit_of(plain: Any, where: str) -> ForkEdit:
    """A fork edit out of plain data. Raises BadInput; a key that is not known comes with the nearest one."""
    if not isinstance(plain, dict):
        raise BadInput("a fork edit is a mapping", where=where, hint=f"of {', '.join(KEYS)}")
    for key in plain:
        if key not in KEYS:
            raise unknown_key(str(key), [*KEYS], where)
    edit = from_plain(ForkEdit, plain, where)
    for name in edit.settings:
        if name not in Settings.model_fields or name in NOT_OURS:
            raise unknown_key(name, [n for n in Settings.model_fields if n not in NOT_OURS], where)
    if bad := [m for m, factor in edit.demand.items() if not 0 <= factor <= 1000]:
        raise BadInput(f"demand of {bad[0]}: a factor is in [0, 1000]", where=where)
    return edit


def edit_of_words(words: Sequence[tuple[str, Any]], where: str) -> ForkEdit:
    """From `key=value` pairs: a setting's name, demand.MODEL, lost, add, drop (NODE:MODEL), replan."""
    plain: dict[str, Any] = {"settings": {}, "demand": {}, "lost": [], "add": [], "drop": []}
    for key, value in words:
        if key.startswith("demand."):
            plain["demand"][key.removeprefix("demand.")] = value
        elif key == "lost":
            plain["lost"].append(str(value))
        elif key in ("add", "drop"):
            plain[key].append(_place(str(value), where))
        elif key == "replan":
            plain["replan"] = value
        elif key in Settings.model_fields and key not in NOT_OURS:
            plain["settings"][key] = value
        else:
            known = [n for n in Settings.model_fields if n not in NOT_OURS]
            raise unknown_key(key, [*known, "demand.MODEL", "lost", "add", "drop", "replan"], where)
    return edit_of(plain, where)


def edited(job: Job, ticket: Ticket, edit: ForkEdit, decided: Decision) -> Job:
    """The recorded job with the edit in it. Raises UnknownModel, UnknownNode."""
    _known(job.observation, edit)
    if edit.observes:
        o = observed(job.observation, edit)
        job = replace(take(replace(ticket, observation=None), o), cases=job.cases)
    if edit.plans:
        plan = planned(decided.plan, edit)
        job = replace(job, offers=(*job.offers, Proposed(OPERATOR, plan, note="as edited")))
    return job


def observed(o: Observation, edit: ForkEdit) -> Observation:
    """The observation with other demand and lost nodes; what triggers the decision is found anew."""
    lost = set(edit.lost)
    nodes = tuple(replace(n, alive=n.alive and n.node not in lost) for n in o.cluster.nodes)
    replicas = tuple(r for r in o.cluster.replicas if r.node not in lost)
    demand = tuple(replace(d, arrivals=round(d.arrivals * edit.demand.get(d.model, 1.0))) for d in o.telemetry.demand)
    loads = tuple(x for x in o.telemetry.loads if x.node not in lost)
    return replace(
        o,
        cluster=replace(o.cluster, nodes=nodes, replicas=replicas),
        telemetry=replace(o.telemetry, demand=demand, loads=loads),
        trigger="slot",
    )


def planned(plan: Plan, edit: ForkEdit) -> Plan:
    """The decided plan with replicas added and dropped; weights and shares are made for it by the scheduler."""
    replicas = sorted((set(plan.replicas) - set(edit.drop)) | set(edit.add))
    return replace(plan, id=f"{plan.id}-x", source=Source.OPERATOR, replicas=tuple(replicas), routes=(), shares=(),
                   reason="as edited")  # fmt: skip


def words_of(edit: ForkEdit) -> str:
    """The edit in a line."""
    parts = [f"{k}={v}" for k, v in edit.settings.items()]
    parts += [f"demand of {m} × {f:g}" for m, f in edit.demand.items()]
    parts += [f"{n} lost" for n in edit.lost]
    parts += [f"add {r.model} on {r.node}" for r in edit.add] + [f"drop {r.model} on {r.node}" for r in edit.drop]
    return ", ".join(parts) or "nothing changed"


def _place(text: str, where: str) -> dict[str, str]:
    node, colon, model = text.partition(":")
    if not (node and colon and model):
        raise BadInput(f"not a place: {text!r}", where=where, hint="NODE:MODEL, for example add=edge-1:gpt2")
    return {"node": node, "model": model}


def _known(o: Observation, edit: ForkEdit) -> None:
    models, nodes = [m.id for m in o.model_specs], [n.id for n in o.node_specs]
    for model in (*edit.demand, *(r.model for r in (*edit.add, *edit.drop))):
        if model not in models:
            raise UnknownModel(f"model {model!r} is not in the catalogue", hint=f"known models: {', '.join(models)}")
    for node in (*edit.lost, *(r.node for r in (*edit.add, *edit.drop))):
        if node not in nodes:
            raise UnknownNode(f"node {node!r} is not in the cluster", hint=f"known nodes: {', '.join(nodes)}")
