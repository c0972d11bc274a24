"""The planner's prompt: a versioned text file filled with the state as one JSON document of compact tables.

Pure. Node and model names, notes and errors come from outside; they enter only as JSON strings in which <, > and &
are escaped, so that no name can close the data block or start a line of its own. No prompt of a user is ever in
the state. Figures are rounded: the last digits carry no information and cost tokens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from agents.answer import Names, answer_schema
from agents.shape import clean_text
from edgewise.control.merit import is_good, standing
from edgewise.control.ports import ChatRequest
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Plan
from edgewise.domain.records import RecalledCase

VERSION = "planner-v1"
MAX_NOTES = 8
MAX_CASES = 8
BUSIEST = 3  # access nodes listed per kind


@cache
def template(version: str) -> tuple[str, str, str]:
    """The system text, the user frame and the re-ask frame of a prompt version."""
    text = files("agents").joinpath("prompts", f"{version}.md").read_text(encoding="utf-8")
    system, rest = text.split("\n---user---\n")
    user, reask = rest.split("\n---reask---\n")
    return system, user, reask


def allowed_names(observation: Observation) -> Names:
    return Names(tuple(n.id for n in observation.alive), tuple(m.id for m in observation.model_specs))


def planner_request(
    observation: Observation,
    incumbent: Plan | None,
    optimised: Plan,
    cases: Sequence[RecalledCase],
    alpha: float,
    max_tokens: int,
) -> ChatRequest:
    """The planner's first question. The same arguments always give the same text."""
    system, user, _ = template(VERSION)
    names = allowed_names(observation)
    data = _document(
        {
            "now": _now(observation, alpha),
            "nodes": _nodes(observation),
            "models": _models(observation),
            "demand": _demand(observation),
            "outcomes": _outcomes(observation),
            "replicas": _replicas(observation),
            "incumbent": _placement(incumbent),
            "optimised": _placement(optimised),
            "cases": [_case(c) for c in cases[:MAX_CASES]],
            "notes": [clean_text(n, 200) for n in observation.notes[:MAX_NOTES]],
            "allowed": {"nodes": list(names.nodes), "models": list(names.models)},
        }
    )
    return ChatRequest(VERSION, system, user.format(data=data), answer_schema(names), max_tokens)


def reask_request(first: ChatRequest, answer: str, problem: str) -> ChatRequest:
    """The same question again, with what was wrong with the answer."""
    frame = template(VERSION)[2]
    quoted = {"problem": _string(clean_text(problem, 300)), "answer": _string(clean_text(answer, 400))}
    text = first.user + frame.format(**quoted)
    return ChatRequest(f"{first.key}-reask", first.system, text, first.schema, first.max_tokens, first.temperature)


def _now(o: Observation, alpha: float) -> dict[str, Any]:
    return {
        "at_s": _round(o.at_s),
        "slot": o.slot,
        "epoch": o.epoch,
        "slot_s": o.slot_s,
        "epoch_slots": o.epoch_slots,
        "trigger": o.trigger,
        "host_cores": o.host_cores,
        "alpha": alpha,
    }


def _nodes(o: Observation) -> dict[str, Any]:
    facts = {f.node: f for f in o.cluster.nodes}
    alive = {n.id for n in o.alive}
    rows = [
        [n.id, n.id in alive, n.speed, n.memory_gib, facts[n.id].memory_used_gib, facts[n.id].age_s]
        if n.id in facts
        else [n.id, False, n.speed, n.memory_gib, None, None]
        for n in o.node_specs
    ]
    return _table(["node", "alive", "speed", "memory_gib", "memory_used_gib", "age_s"], rows)


def _models(o: Observation) -> dict[str, Any]:
    return _table(
        ["model", "task", "memory_gib", "mean_service_s", "load_s", "deadline_s", "max_concurrency"],
        (
            [m.id, m.task.value, m.memory_gib, m.mean_service_s, m.load_s, m.deadline_s, m.max_concurrency]
            for m in o.model_specs
        ),
    )


def _demand(o: Observation) -> dict[str, Any]:
    rows = []
    for m in o.model_specs:
        facts = [d for d in o.telemetry.demand if d.model == m.id]
        rate = sum(d.rate_per_s for d in facts)
        by_node = sorted(facts, key=lambda d: (-d.rate_per_s, d.access_node))
        busiest = [[d.access_node, _round(d.rate_per_s)] for d in by_node[:BUSIEST] if d.arrivals]
        window_s, age_s = (max(d.window_s for d in facts), max(d.age_s for d in facts)) if facts else (None, None)
        rows.append([m.id, rate, rate * m.mean_service_s, busiest, window_s, age_s])
    return _table(["model", "rate_per_s", "load", "busiest_access_nodes", "window_s", "age_s"], rows)


def _outcomes(o: Observation) -> dict[str, Any]:
    return _table(
        ["model", "completed", "mean_latency_s", "p95_latency_s", "waiting", "failed", "shed", "window_s", "age_s"],
        (
            [
                f.model,
                f.completed,
                f.mean_latency_s,
                f.p95_latency_s,
                f.waiting,
                f.failed,
                f.shed,
                f.window_s,
                f.age_s,
            ]
            for f in o.telemetry.models
        ),
    )


def _replicas(o: Observation) -> dict[str, Any]:
    loads = {(x.node, x.model): x for x in o.telemetry.loads}
    rows = []
    for r in o.cluster.replicas:
        load = loads.get((r.node, r.model))
        work = [load.queued, load.in_flight, load.work_s] if load else [None, None, None]
        rows.append([r.node, r.model, r.state.value, *work, r.ready_in_s, clean_text(r.error, 80), r.age_s])
    columns = ["node", "model", "state", "queued", "in_flight", "work_s", "ready_in_s", "error", "age_s"]
    return _table(columns, rows)


def _placement(plan: Plan | None) -> dict[str, list[str]]:
    placement: dict[str, list[str]] = {}
    for goal in plan.replicas if plan else ():
        placement.setdefault(goal.node, []).append(goal.model)
    return placement


def _case(recalled: RecalledCase) -> dict[str, Any]:
    case, outcome = recalled.case, recalled.case.outcome
    placement: dict[str, list[str]] = {}
    for goal in case.placement:
        placement.setdefault(goal.node, []).append(goal.model)
    known: dict[str, Any] = {}
    if outcome is not None:
        known = {
            "verdict": "good" if is_good(recalled) else "bad",
            "worse_than_expected": _round(math.exp(standing(recalled)) - 1),
            "times": outcome.times,
            "objective": _round(outcome.objective),
            "mean_latency_s": _round(outcome.mean_latency_s),
            "jain": _round(outcome.jain_normalized),
        }
    return {
        "distance": _round(recalled.distance),
        "predicted": _round(case.predicted),
        **known,
        "can_be_done_now": _round(recalled.part),
        "proposed_by": clean_text(case.source, 40),
        "summary": clean_text(case.summary, 200),
        "placement": placement,
    }


def _table(columns: list[str], rows: Iterable[list[Any]]) -> dict[str, Any]:
    return {"columns": columns, "rows": [[_round(v) for v in row] for row in rows]}


def _round(value: Any) -> Any:
    """Four significant digits; None for what is not a finite number."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _document(state: dict[str, Any]) -> str:
    """One line per entry and per row: compact, and a person can still read it."""
    lines = []
    for key, value in state.items():
        if isinstance(value, dict) and "rows" in value:
            rows = ",\n  ".join(_string(r) for r in value["rows"])
            text = f'{{"columns": {_string(value["columns"])}, "rows": [\n  {rows}]}}'
        else:
            text = _string(value)
        lines.append(f"{_string(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}"


def _string(value: Any) -> str:
    """JSON in ASCII, with the characters that could end the data block escaped."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
