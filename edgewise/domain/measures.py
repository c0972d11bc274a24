"""The measures, in one implementation: latency, slowdown, fairness, attainment, and the summary of a run.

Definitions (docs/architecture.md has the reasons): latency runs from arrival at the access node to the last byte
back there. A prompt without an answer enters with its age so far; one that was shed, failed or cancelled enters
with max(age, deadline) and counts against the service ratio. So nobody leaves the mean early.

Figures are computed on columns, so that a million simulated prompts and a live run's rows go through the same code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgewise.domain.records import PromptRow, PromptStatus

PROMPT_KEYS = (
    "prompts_accepted", "prompts_completed", "prompts_failed", "prompts_shed", "prompts_cancelled", "prompts_lost",
    "mean_latency_s", "p50_latency_s", "p95_latency_s", "p99_latency_s", "censored", "mean_slowdown",
    "jain", "jain_normalized", "jain_inverse_latency", "jain_service_ratio", "service_ratio", "worst_attainment",
)  # fmt: skip

STATUSES = tuple(PromptStatus)
CODES = {status: code for code, status in enumerate(STATUSES)}
COMPLETED, PENDING = CODES[PromptStatus.COMPLETED], CODES[PromptStatus.PENDING]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class PromptColumns(NamedTuple):
    """P prompts as columns. model: index into `models`; status: index into STATUSES; finished_s: run-clock second of
    the answer, inf without one; deadline_s: allowed latency; ideal_s: alone on the fastest node."""

    models: tuple[str, ...]
    model: Ints
    status: Ints
    arrived_s: Floats
    finished_s: Floats
    deadline_s: Floats
    ideal_s: Floats


def jain(values: Sequence[float]) -> float:
    """Jain's index (Σx)²/(nΣx²) in [1/n, 1]; 1 for no values or all zeros (nobody is treated worse).
    Source: Jain, Chiu, Hawe, "A quantitative measure of fairness", 1984."""
    squares = sum(x * x for x in values)
    return 1.0 if squares <= 0 else sum(values) ** 2 / (len(values) * squares)


def jain_normalized(values: Sequence[float]) -> float:
    """Jain's index stretched to [0, 1]: (J − 1/n)/(1 − 1/n); 1 when there is at most one value."""
    n = len(values)
    if n <= 1:
        return 1.0
    return min(1.0, max(0.0, (jain(values) - 1 / n) / (1 - 1 / n)))


def quantile(ordered: Sequence[float] | Floats, q: float) -> float | None:
    """The q-quantile of an ascending sequence by linear interpolation; None when it is empty."""
    if not len(ordered):
        return None
    at = q * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return float(ordered[low] + (ordered[high] - ordered[low]) * (at - low))


def mean(values: Iterable[float]) -> float | None:
    items = list(values)
    return sum(items) / len(items) if items else None


def columns(rows: Sequence[PromptRow]) -> PromptColumns:
    """Rows as columns; models in the order of their names."""
    names = tuple(sorted({r.model for r in rows}))
    index = {name: i for i, name in enumerate(names)}

    def floats(values: Iterable[float]) -> Floats:
        return np.fromiter(values, np.float64, len(rows))

    return PromptColumns(
        models=names,
        model=np.fromiter((index[r.model] for r in rows), np.int64, len(rows)),
        status=np.fromiter((CODES[r.status] for r in rows), np.int64, len(rows)),
        arrived_s=floats(r.arrived_s for r in rows),
        finished_s=floats(math.inf if r.finished_s is None else r.finished_s for r in rows),
        deadline_s=floats(r.deadline_s for r in rows),
        ideal_s=floats(r.ideal_s for r in rows),
    )


def counted_latencies(c: PromptColumns, end_s: float) -> Floats:
    """The latency [P] with which each prompt enters every mean, s (see the module's text). end_s: run-clock second
    at which a prompt without an answer is aged."""
    ends_s = np.where(np.isfinite(c.finished_s), c.finished_s, end_s)
    age_s = ends_s - c.arrived_s
    pending_s = np.maximum(0.0, end_s - c.arrived_s)
    done = (c.status == COMPLETED) & np.isfinite(c.finished_s)
    unserved_s = np.where(c.status == PENDING, pending_s, np.maximum(age_s, c.deadline_s))
    return np.where(done, age_s, unserved_s)


def in_time(c: PromptColumns) -> NDArray[np.bool_]:
    """Which prompts [P] were completed within their deadline."""
    return np.asarray((c.status == COMPLETED) & (c.finished_s - c.arrived_s <= c.deadline_s), np.bool_)


def counted_latency_s(row: PromptRow, end_s: float) -> float:
    """`counted_latencies` of one row."""
    return float(counted_latencies(columns([row]), end_s)[0])


class _Group(NamedTuple):
    """The prompts a set of figures is about."""

    model: Ints
    status: Ints
    latency_s: Floats
    ideal_s: Floats
    in_time: NDArray[np.bool_]

    def of(self, chosen: NDArray[np.bool_]) -> _Group:
        return _Group._make(column[chosen] for column in self)


def _slowdown(g: _Group) -> float:
    """Mean latency over mean ideal latency, at least 1."""
    ideal = float(g.ideal_s.sum())
    return max(1.0, float(g.latency_s.sum()) / ideal) if ideal > 0 else 1.0


def _part(yes: NDArray[np.bool_]) -> float:
    return float(yes.mean()) if yes.size else 1.0


def _figures(g: _Group) -> dict[str, Any]:
    groups = [g.of(g.model == m) for m in np.unique(g.model)]
    ordered = np.sort(g.latency_s)
    slowdowns = [_slowdown(x) for x in groups]
    inverse = [1 / s for s in slowdowns]
    means = [float(x.latency_s.mean()) for x in groups]
    ratios = [_part(x.in_time) for x in groups]
    count = np.bincount(g.status, minlength=len(STATUSES)).tolist()
    return {
        "prompts_accepted": len(ordered),
        "prompts_completed": count[CODES[PromptStatus.COMPLETED]],
        "prompts_failed": count[CODES[PromptStatus.FAILED]],
        "prompts_shed": count[CODES[PromptStatus.SHED]],
        "prompts_cancelled": count[CODES[PromptStatus.CANCELLED]],
        "prompts_lost": count[PENDING],
        "mean_latency_s": float(ordered.mean()) if len(ordered) else None,
        "p50_latency_s": quantile(ordered, 0.50),
        "p95_latency_s": quantile(ordered, 0.95),
        "p99_latency_s": quantile(ordered, 0.99),
        "censored": len(ordered) - count[COMPLETED],
        "mean_slowdown": mean(slowdowns),
        "jain": jain(inverse),
        "jain_normalized": jain_normalized(inverse),
        "jain_inverse_latency": jain([1 / m for m in means if m > 0]),
        "jain_service_ratio": jain(ratios),
        "service_ratio": _part(g.in_time),
        "worst_attainment": min(ratios, default=1.0),
    }


def figures(c: PromptColumns, end_s: float) -> dict[str, Any]:
    """All prompt figures of summary.json, overall and in `per_model` (models that had a prompt)."""
    whole = _Group(c.model, c.status, counted_latencies(c, end_s), c.ideal_s, in_time(c))
    found = _figures(whole)
    found["per_model"] = {c.models[m]: _figures(whole.of(c.model == m)) for m in np.unique(c.model)}
    return found


def prompt_figures(rows: Sequence[PromptRow], end_s: float) -> dict[str, Any]:
    """`figures` of the prompt rows of events.jsonl, one per prompt."""
    return figures(columns(rows), end_s)
