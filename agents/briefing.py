"""The planner's prompt: a versioned text file filled with the state as one JSON document of compact tables (see
agents.tables for what keeps outside words data). Pure. No prompt of a user is ever in the state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from agents.answer import Names, answer_schema
from agents.mending import clean_text
from agents.prompting import prompt
from agents.tables import document, rounded, table
from edgewise.control.intent_words import words
from edgewise.control.intents import due
from edgewise.control.merit import is_good, standing
from edgewise.control.ports import ChatRequest
from edgewise.control.state import Job
from edgewise.domain.intent import Intent
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Plan
from edgewise.domain.records import RecalledCase, SlotSummary
from edgewise.settings import Settings

VERSION = "planner-v2"
MAX_NOTES = 8
MAX_CASES = 8
MAX_INTENTS = 8
BUSIEST = 3  # access nodes listed per kind
LAST_SLOTS = 6  # listed one by one; those before them as means by epoch


def allowed_names(observation: Observation) -> Names:
    return Names(tuple(n.id for n in observation.alive), tuple(m.id for m in observation.model_specs))


def planner_request(job: Job, optimised: Plan, settings: Settings) -> ChatRequest:
    """The planner's first question, with the schema of its answer. The same arguments always give the same text."""
    o, texts = job.observation, prompt(VERSION)
    names = allowed_names(o)
    data = document(
        {
            "now": _now(o, settings.alpha),
            "nodes": nodes_table(o),
            "models": models_table(o),
            "demand": demand_table(o),
            "outcomes": _outcomes(o),
            "replicas": replicas_table(o),
            "lately": _lately(job.lately[-LAST_SLOTS:], o),
            "epochs": _epochs(job.lately, o),
            "incumbent": placement_of(job.incumbent),
            "optimised": placement_of(optimised),
            "cases": [case_of(c) for c in job.cases[:MAX_CASES]],
            "intents": [_intent(i) for i in due(job.intents, o)[:MAX_INTENTS]],
            "notes": [clean_text(n, 200) for n in o.notes[:MAX_NOTES]],
            "allowed": {"nodes": list(names.nodes), "models": list(names.models)},
        }
    )
    return ChatRequest(
        VERSION,
        texts.system,
        texts.user.replace("{data}", data),
        answer_schema(names),
        settings.llm_max_tokens,
        settings.llm_temperature,
        prompt=texts.hash,
    )


def _now(o: Observation, alpha: float) -> dict[str, Any]:
    return {
        "at_s": rounded(o.at_s),
        "slot": o.slot,
        "epoch": o.epoch,
        "slot_s": o.slot_s,
        "epoch_slots": o.epoch_slots,
        "trigger": o.trigger,
        "host_cores": o.host_cores,
        "alpha": alpha,
    }


def nodes_table(o: Observation) -> dict[str, Any]:
    facts = {f.node: f for f in o.cluster.nodes}
    alive = {n.id for n in o.alive}
    rows = [
        [n.id, n.id in alive, n.speed, n.memory_gib, facts[n.id].memory_used_gib, facts[n.id].age_s]
        if n.id in facts
        else [n.id, False, n.speed, n.memory_gib, None, None]
        for n in o.node_specs
    ]
    return table(["node", "alive", "speed", "memory_gib", "memory_used_gib", "age_s"], rows)


def models_table(o: Observation) -> dict[str, Any]:
    return table(
        ["model", "task", "memory_gib", "mean_service_s", "load_s", "deadline_s", "max_concurrency"],
        (
            [m.id, m.task.value, m.memory_gib, m.mean_service_s, m.load_s, m.deadline_s, m.max_concurrency]
            for m in o.model_specs
        ),
    )


def demand_table(o: Observation) -> dict[str, Any]:
    rows = []
    for m in o.model_specs:
        facts = [d for d in o.telemetry.demand if d.model == m.id]
        rate = sum(d.rate_per_s for d in facts)
        by_node = sorted(facts, key=lambda d: (-d.rate_per_s, d.access_node))
        busiest = [[d.access_node, rounded(d.rate_per_s)] for d in by_node[:BUSIEST] if d.arrivals]
        window_s, age_s = (max(d.window_s for d in facts), max(d.age_s for d in facts)) if facts else (None, None)
        rows.append([m.id, rate, rate * m.mean_service_s, busiest, window_s, age_s])
    return table(["model", "rate_per_s", "load", "busiest_access_nodes", "window_s", "age_s"], rows)


def _outcomes(o: Observation) -> dict[str, Any]:
    return table(
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


def replicas_table(o: Observation) -> dict[str, Any]:
    loads = {(x.node, x.model): x for x in o.telemetry.loads}
    rows = []
    for r in o.cluster.replicas:
        load = loads.get((r.node, r.model))
        work = [load.queued, load.in_flight, load.work_s] if load else [None, None, None]
        rows.append([r.node, r.model, r.state.value, *work, r.ready_in_s, clean_text(r.error, 80), r.age_s])
    columns = ["node", "model", "state", "queued", "in_flight", "work_s", "ready_in_s", "error", "age_s"]
    return table(columns, rows)


def placement_of(plan: Plan | None) -> dict[str, list[str]]:
    placement: dict[str, list[str]] = {}
    for goal in plan.replicas if plan else ():
        placement.setdefault(goal.node, []).append(goal.model)
    return placement


def case_of(recalled: RecalledCase) -> dict[str, Any]:
    case, outcome = recalled.case, recalled.case.outcome
    placement: dict[str, list[str]] = {}
    for goal in case.placement:
        placement.setdefault(goal.node, []).append(goal.model)
    known: dict[str, Any] = {}
    if outcome is not None:
        known = {
            "verdict": "good" if is_good(recalled) else "bad",
            "worse_than_expected": rounded(math.exp(standing(recalled)) - 1),
            "times": outcome.times,
            "objective": rounded(outcome.objective),
            "mean_latency_s": rounded(outcome.mean_latency_s),
            "jain": rounded(outcome.jain_normalized),
        }
    return {
        "distance": rounded(recalled.distance),
        "predicted": rounded(case.predicted),
        **known,
        "can_be_done_now": rounded(recalled.part),
        "proposed_by": clean_text(case.source, 40),
        "summary": clean_text(case.summary, 200),
        "placement": placement,
    }


def _intent(intent: Intent) -> dict[str, Any]:
    """What it asks for in plain words, the operator's own beside them."""
    return {"asks": clean_text(words(intent), 400), "said": clean_text(intent.text, 200)}


def _lately(slots: Sequence[SlotSummary], o: Observation) -> dict[str, Any]:
    """A row per kind; each cell a list by slot."""
    if not slots:
        return {}
    rows = []
    for m in o.model_specs:
        mine = [next((x for x in s.models if x.model == m.id), None) for s in slots]
        arrivals = [x.arrivals if x else None for x in mine]
        waiting = [x.waiting + x.queued if x else None for x in mine]
        rows.append([m.id, arrivals, waiting, [x.slowdown if x else None for x in mine]])
    columns = ["model", "arrivals_in_window", "waiting_and_queued", "slowdown"]
    return {"slots": [s.slot for s in slots], **table(columns, rows)}


def _epochs(slots: Sequence[SlotSummary], o: Observation) -> dict[str, Any]:
    """Means by epoch and kind, of what is remembered of it."""
    rows: list[list[Any]] = []
    for epoch in sorted({s.epoch for s in slots}):
        mine = [s for s in slots if s.epoch == epoch]
        for m in o.model_specs:
            of = [x for s in mine for x in s.models if x.model == m.id]
            slow = [x.slowdown for x in of if x.slowdown is not None]
            if of:
                arrivals, replicas = sum(x.arrivals for x in of) / len(of), sum(x.replicas for x in of) / len(of)
                rows.append([epoch, len(of), m.id, arrivals, replicas, sum(slow) / len(slow) if slow else None])
    columns = ["epoch", "slots", "model", "mean_arrivals_in_window", "mean_replicas", "mean_slowdown"]
    return table(columns, rows) if rows else {}
