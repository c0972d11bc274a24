"""The measures, in one implementation: latency, slowdown, fairness, attainment, and the summary of a run.

Definitions (docs/architecture.md has the reasons): latency runs from arrival at the access node to the last byte
back there. A prompt without an answer enters with its age so far; one that was shed, failed or cancelled enters
with max(age, deadline) and counts against the service ratio. So nobody leaves the mean early.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from edgewise.domain.records import PromptRow, PromptStatus

PROMPT_KEYS = (
    "prompts_accepted", "prompts_completed", "prompts_failed", "prompts_shed", "prompts_cancelled", "prompts_lost",
    "mean_latency_s", "p50_latency_s", "p95_latency_s", "p99_latency_s", "censored", "mean_slowdown",
    "jain", "jain_normalized", "jain_inverse_latency", "jain_service_ratio", "service_ratio", "worst_attainment",
)  # fmt: skip


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


def quantile(ordered: Sequence[float], q: float) -> float | None:
    """The q-quantile of an ascending sequence by linear interpolation; None when it is empty."""
    if not ordered:
        return None
    at = q * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def counted_latency_s(row: PromptRow, end_s: float) -> float:
    """The latency with which a prompt enters every mean, seconds (see the module's text)."""
    if row.status is PromptStatus.COMPLETED and row.finished_s is not None:
        return row.finished_s - row.arrived_s
    if row.status is PromptStatus.PENDING:
        return max(0.0, end_s - row.arrived_s)
    age_s = (row.finished_s if row.finished_s is not None else end_s) - row.arrived_s
    return max(age_s, row.deadline_s)


def in_time(row: PromptRow) -> bool:
    """Finished within its deadline."""
    done = row.status is PromptStatus.COMPLETED and row.finished_s is not None
    return done and (row.finished_s or 0.0) - row.arrived_s <= row.deadline_s


def mean(values: Iterable[float]) -> float | None:
    items = list(values)
    return sum(items) / len(items) if items else None


def slowdown(rows: Sequence[PromptRow], end_s: float) -> float | None:
    """Mean latency over mean ideal latency of one model's prompts, at least 1; None without prompts."""
    if not rows:
        return None
    ideal = sum(r.ideal_s for r in rows)
    total = sum(counted_latency_s(r, end_s) for r in rows)
    return max(1.0, total / ideal) if ideal > 0 else 1.0


def attainment(rows: Sequence[PromptRow]) -> float:
    """Part of the prompts that finished within their deadline; 1 when there were none."""
    return sum(map(in_time, rows)) / len(rows) if rows else 1.0


def _figures(rows: Sequence[PromptRow], by_model: dict[str, list[PromptRow]], end_s: float) -> dict[str, Any]:
    count = {s: sum(r.status is s for r in rows) for s in PromptStatus}
    latencies = sorted(counted_latency_s(r, end_s) for r in rows)
    slowdowns = [s for s in (slowdown(g, end_s) for g in by_model.values()) if s is not None]
    inverse = [1 / s for s in slowdowns]
    means = [mean(counted_latency_s(r, end_s) for r in g) or 0.0 for g in by_model.values()]
    ratios = [attainment(g) for g in by_model.values()]
    return {
        "prompts_accepted": len(rows),
        "prompts_completed": count[PromptStatus.COMPLETED],
        "prompts_failed": count[PromptStatus.FAILED],
        "prompts_shed": count[PromptStatus.SHED],
        "prompts_cancelled": count[PromptStatus.CANCELLED],
        "prompts_lost": count[PromptStatus.PENDING],
        "mean_latency_s": mean(latencies),
        "p50_latency_s": quantile(latencies, 0.50),
        "p95_latency_s": quantile(latencies, 0.95),
        "p99_latency_s": quantile(latencies, 0.99),
        "censored": len(rows) - count[PromptStatus.COMPLETED],
        "mean_slowdown": mean(slowdowns),
        "jain": jain(inverse),
        "jain_normalized": jain_normalized(inverse),
        "jain_inverse_latency": jain([1 / m for m in means if m > 0]),
        "jain_service_ratio": jain(ratios),
        "service_ratio": attainment(rows),
        "worst_attainment": min(ratios, default=1.0),
    }


def prompt_figures(rows: Sequence[PromptRow], end_s: float) -> dict[str, Any]:
    """All prompt figures of summary.json, overall and in `per_model`, from the prompt rows of events.jsonl.

    rows: one per prompt. end_s: run-clock second at which a prompt without an answer is aged.
    """
    by_model: dict[str, list[PromptRow]] = {}
    for row in rows:
        by_model.setdefault(row.model, []).append(row)
    by_model = dict(sorted(by_model.items()))
    figures = _figures(rows, by_model, end_s)
    figures["per_model"] = {m: _figures(g, {m: g}, end_s) for m, g in by_model.items()}
    return figures
