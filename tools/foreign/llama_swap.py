"""llama-swap: `/running`, `/v1/models`, its log of requests, and `/metrics` of the machine. Its `/unload` and
`/upstream/…` are GETs that act, and are never asked."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from tools.foreign.page import GIB, Answers, series
from tools.foreign.records import NodeMemory, Reading, Resident, Served

RUNNING, MODELS = "/running", "/v1/models"
ACTIVITY, OLD_ACTIVITY = "/api/metrics/activity?limit=500", "/api/metrics"
GPU_TOTAL = "llamaswap_gpu_memory_total_bytes"
NAMES = frozenset({GPU_TOTAL})
STATES = {"ready": "ready", "starting": "loading", "stopping": "draining"}


def is_it(answers: Answers) -> bool:
    return isinstance(_rows(answers, RUNNING, "running"), list)


def read(answers: Answers) -> Reading:
    """Each entry of the log is a prompt that ended: when, how long, how many tokens. The log is finite: polls must
    come before it is written over."""
    rows = _rows(answers, ACTIVITY, "data")
    if rows is None:
        old = answers.json.get(OLD_ACTIVITY)
        rows = old if isinstance(old, list) else []
    resident = tuple(
        Resident("", str(r["model"]), STATES[str(r.get("state"))])
        for r in _rows(answers, RUNNING, "running") or ()
        if isinstance(r, dict) and r.get("model") and str(r.get("state")) in STATES
    )
    catalogue = (str(r.get("id", "")) for r in _rows(answers, MODELS, "data") or () if isinstance(r, dict))
    total = sum(value for _, value in series(answers.page, GPU_TOTAL)) if answers.page else 0.0
    return Reading(
        resident=resident,
        served=tuple(s for s in map(_served, rows) if s is not None),
        memory=(NodeMemory("", total / GIB),) if total > 0 else (),
        models=tuple(sorted({*catalogue, *(r.model for r in resident)} - {""})),
    )


def keeps_log(answers: Answers) -> bool:
    """Whether it lists its requests; old versions do not."""
    return _rows(answers, ACTIVITY, "data") is not None or isinstance(answers.json.get(OLD_ACTIVITY), list)


def _rows(answers: Answers, path: str, key: str) -> list[Any] | None:
    found = answers.json.get(path)
    rows = found.get(key) if isinstance(found, dict) else None
    return rows if isinstance(rows, list) else None


def _served(row: Any) -> Served | None:
    """None: the line does not say when, or of which model."""
    if not isinstance(row, dict) or not row.get("model"):
        return None
    tokens = row["tokens"] if isinstance(row.get("tokens"), dict) else row
    ended_s = _seconds(row.get("timestamp"))
    if not math.isfinite(ended_s):
        return None
    took, status = row.get("duration_ms"), row.get("resp_status_code")
    return Served(
        id=str(row.get("id", "")),
        model=str(row["model"]),
        ended_s=ended_s,
        took_s=took / 1000 if isinstance(took, int | float) and took >= 0 else None,
        input_tokens=_tokens(tokens.get("input_tokens")),
        output_tokens=_tokens(tokens.get("output_tokens")),
        failed=isinstance(status, int) and status >= 400,
    )


def _tokens(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _seconds(text: Any) -> float:
    """RFC 3339 with any number of digits after the point; nan when it is not."""
    head, dot, tail = str(text or "").replace("Z", "+00:00").partition(".")
    if dot:
        digits = tail[: next((i for i, c in enumerate(tail) if not c.isdigit()), len(tail))]
        head = f"{head}.{digits[:6].ljust(6, '0')}{tail[len(digits) :]}"
    try:
        return datetime.fromisoformat(head).timestamp()
    except ValueError:
        return math.nan
