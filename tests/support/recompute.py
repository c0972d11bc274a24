"""The prompt figures of summary.json, computed a second time from events.jsonl with nothing of ours: plain JSON,
plain arithmetic. What a reader outside the project would write from the documented definitions."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any


def prompt_rows(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    return [r for r in rows if "arrived_s" in r]


def latency(row: dict[str, Any], end_s: float) -> float:
    if row["status"] == "completed":
        return float(row["finished_s"] - row["arrived_s"])
    if row["status"] == "pending":
        return float(end_s - row["arrived_s"])
    finished = row["finished_s"] if row["finished_s"] is not None else end_s
    return float(max(finished - row["arrived_s"], row["deadline_s"]))


def percentile(values: list[float], q: float) -> float | None:
    if not values:
        return None
    values = sorted(values)
    position = (len(values) - 1) * q
    lower = math.floor(position)
    upper = math.ceil(position)
    return values[lower] * (1 - (position - lower)) + values[upper] * (position - lower)


def index(values: list[float]) -> float:
    return sum(values) ** 2 / (len(values) * sum(v * v for v in values)) if any(values) else 1.0


def figures(rows: list[dict[str, Any]], end_s: float) -> dict[str, Any]:
    """Overall figures by the documented definitions."""
    latencies = [latency(r, end_s) for r in rows]
    by_model: dict[str, list[dict[str, Any]]] = {}
    for r in rows:
        by_model.setdefault(r["model"], []).append(r)
    x, means, ratios = [], [], []
    for group in by_model.values():
        spent = sum(latency(r, end_s) for r in group)
        x.append(1 / max(1.0, spent / sum(r["ideal_s"] for r in group)))
        means.append(spent / len(group))
        good = [r for r in group if r["status"] == "completed" and latency(r, end_s) <= r["deadline_s"]]
        ratios.append(len(good) / len(group))
    n = len(by_model)
    j = index(x)
    good_total = sum(ratio * len(group) for ratio, group in zip(ratios, by_model.values(), strict=True))
    count = {s: sum(r["status"] == s for r in rows) for s in ("completed", "failed", "shed", "cancelled", "pending")}
    return {
        "prompts_accepted": len(rows),
        "prompts_completed": count["completed"],
        "prompts_failed": count["failed"],
        "prompts_shed": count["shed"],
        "prompts_cancelled": count["cancelled"],
        "prompts_lost": count["pending"],
        "mean_latency_s": sum(latencies) / len(latencies),
        "p50_latency_s": percentile(latencies, 0.5),
        "p95_latency_s": percentile(latencies, 0.95),
        "p99_latency_s": percentile(latencies, 0.99),
        "mean_slowdown": sum(1 / v for v in x) / n,
        "jain": j,
        "jain_normalized": (j - 1 / n) / (1 - 1 / n) if n > 1 else 1.0,
        "jain_inverse_latency": index([1 / m for m in means]),
        "jain_service_ratio": index(ratios),
        "service_ratio": good_total / len(rows),
        "worst_attainment": min(ratios),
    }
