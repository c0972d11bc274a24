"""edgewise itself as the foreign system: `/metrics` of a gateway, and of its nodes."""

from __future__ import annotations

from tools.foreign.page import LATENCY, LOAD, SERVICE, Answers, counted, gauge, histogram, series, timed
from tools.foreign.records import Busy, Count, NodeMemory, Reading, Resident, TaskOf, What

ARRIVED, ENDED = "edgewise_prompts_arrived_total", "edgewise_prompts_finished_total"
DURATION = "gen_ai_server_request_duration_seconds"
AT_NODES, HELD = "edgewise_prompts_in_flight", "edgewise_prompts_waiting"
STATE = "edgewise_replica_state"
QUEUED, RUNNING = "edgewise_replica_queued", "edgewise_replica_in_flight"
TOOK, LOADS = "edgewise_service_seconds", "edgewise_replica_load_seconds"
BUDGET, USED = "edgewise_node_memory_budget_gib", "edgewise_node_memory_used_gib"
MODELS = "/v1/models"
NAMES = (
    frozenset({ARRIVED, ENDED, AT_NODES, HELD, STATE, QUEUED, RUNNING, BUDGET, USED})
    | histogram(DURATION)
    | histogram(TOOK)
    | histogram(LOADS)
)
COMPLETED = "completed"


def is_gateway(answers: Answers) -> bool:
    return HELD in answers.declared or _has(answers, HELD) or _has(answers, ARRIVED)


def is_node(answers: Answers) -> bool:
    return BUDGET in answers.declared or _has(answers, BUDGET)


def read_gateway(answers: Answers) -> Reading:
    """Arrivals by access node; latency by model, of completed prompts. Where they were served only its nodes know
    exactly; here it shows in what is at them."""
    page = answers.page
    assert page is not None
    ended: dict[tuple[str, bool], float] = {}
    for labels, value in series(page, ENDED):
        at = (labels.get("model", ""), labels.get("status") == COMPLETED)
        ended[at] = ended.get(at, 0.0) + value
    counts = [
        *counted(page, ARRIVED, What.ARRIVED, "model", "access_node"),
        *timed(page, DURATION, LATENCY, "gen_ai_request_model"),
    ]
    for (model, completed), value in sorted(ended.items()):
        counts.append(Count("", model, What.FINISHED if completed else What.FAILED, value))
    busy = [Busy(n, m, value) for (n, m), value in gauge(page, AT_NODES, "model", "node").items()]
    busy += [Busy("", m, 0.0, value) for (_, m), value in gauge(page, HELD, "model").items()]
    return Reading(
        counts=tuple(counts),
        busy=tuple(busy),
        catalogue=_catalogue(answers),
        models=tuple(sorted({b.model for b in busy})),
        whole=page.bad_lines == 0,
    )


def read_node(answers: Answers) -> Reading:
    page = answers.page
    assert page is not None
    counts = [
        *timed(page, TOOK, SERVICE, "model", "node"),
        *timed(page, LOADS, LOAD, "model", "node"),
        *counted(page, f"{TOOK}_count", What.FINISHED, "model", "node"),
    ]
    waiting = gauge(page, QUEUED, "model", "node")
    used = {labels.get("node", ""): value for labels, value in series(page, USED)}
    busy = [Busy(n, m, v, waiting.get((n, m), 0.0)) for (n, m), v in gauge(page, RUNNING, "model", "node").items()]
    resident = [
        Resident(labels.get("node", ""), labels.get("model", ""), labels["state"])
        for labels, value in series(page, STATE)
        if value == 1.0 and labels.get("state") in ("ready", "loading", "draining")
    ]
    return Reading(
        counts=tuple(counts),
        busy=tuple(busy),
        resident=tuple(resident),
        memory=tuple(
            NodeMemory(n, value, used.get(n))
            for n, value in ((x.get("node", ""), v) for x, v in series(page, BUDGET))
        ),
        models=tuple(sorted({r.model for r in resident})),
        whole=page.bad_lines == 0,
    )


def _catalogue(answers: Answers) -> tuple[TaskOf, ...]:
    found = answers.json.get(MODELS)
    rows = found.get("data") if isinstance(found, dict) else None
    rows = [r for r in rows if isinstance(r, dict)] if isinstance(rows, list) else []
    return tuple(TaskOf(str(r["id"]), str(r["task"])) for r in rows if r.get("id") and r.get("task"))


def _has(answers: Answers, name: str) -> bool:
    return answers.page is not None and any(found == name for found, _ in answers.page.values)
