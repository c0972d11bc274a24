"""llama.cpp's server: `/metrics` (when started with --metrics), `/slots`, `/v1/models`. It counts tokens and
seconds, not requests; those are the tasks that show up in its slots between two looks."""

from __future__ import annotations

from typing import Any

from tools.foreign.page import Answers, counted, gauge
from tools.foreign.records import Busy, Count, Reading, Resident, What

SLOTS, MODELS = "/slots", "/v1/models"
PROMPT_S, PREDICTED_S = "llamacpp:prompt_seconds_total", "llamacpp:tokens_predicted_seconds_total"
RUNNING, DEFERRED = "llamacpp:requests_processing", "llamacpp:requests_deferred"
TOKENS = {
    "llamacpp:prompt_tokens_total": What.INPUT_TOKENS,
    "llamacpp:tokens_predicted_total": What.OUTPUT_TOKENS,
}
NAMES = frozenset({PROMPT_S, PREDICTED_S, RUNNING, DEFERRED, *TOKENS})


def is_it(answers: Answers) -> bool:
    return any(name.startswith("llamacpp:") for name in answers.declared) or bool(_slots(answers))


def read(answers: Answers) -> Reading:
    """Its figures name no model: a server has one."""
    model = _model(answers)
    slots = _slots(answers)
    busy_slots = [s for s in slots if s.get("is_processing")]
    counts, running, deferred = list[Count](), float(len(busy_slots)), 0.0
    page = answers.page
    if page is not None:
        seconds = [c.value for name in (PROMPT_S, PREDICTED_S) for c in counted(page, name, What.SERVICE_S)]
        if seconds:
            counts.append(Count("", model, What.SERVICE_S, sum(seconds)))
        for name, what in TOKENS.items():
            counts += [Count("", model, what, c.value) for c in counted(page, name, what)]
        running = sum(gauge(page, RUNNING).values(), 0.0) or running
        deferred = sum(gauge(page, DEFERRED).values(), 0.0)
    return Reading(
        counts=tuple(counts),
        busy=(Busy("", model, running, deferred),),
        resident=(Resident("", model),),
        models=(model,),
        tasks=tuple(sorted(str(s["id_task"]) for s in slots if _has_task(s))),
        whole=page is None or page.bad_lines == 0,
    )


def slots_in_all(answers: Answers) -> int:
    """Prompts it serves at a time."""
    return len(_slots(answers))


def _slots(answers: Answers) -> list[dict[str, Any]]:
    found = answers.json.get(SLOTS)
    rows = found if isinstance(found, list) else []
    return [r for r in rows if isinstance(r, dict) and "id" in r]


def _has_task(slot: dict[str, Any]) -> bool:
    """A slot keeps the id of its last task when that has ended."""
    task = slot.get("id_task")
    return isinstance(task, int) and task >= 0


def _model(answers: Answers) -> str:
    found = answers.json.get(MODELS)
    rows = found.get("data") if isinstance(found, dict) else None
    first = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else {}
    # The id is often the path of the weights.
    return str(first.get("id") or "model").rsplit("/", 1)[-1]
