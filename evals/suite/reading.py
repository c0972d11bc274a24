"""A report as people read it: the order of policies, numbers as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from evals.suite.variants import is_variant


def by_latency(report: Mapping[str, Any]) -> list[str]:
    """Policies, the lowest mean latency first."""
    means = {p: m["mean_latency_s"]["mean"] for p, m in report["policies"].items()}
    return sorted(means, key=lambda p: math.inf if means[p] is None else means[p])


def choices(report: Mapping[str, Any]) -> list[str]:
    """As by_latency, without the product at other weights of fairness: those have a line of their own."""
    return [p for p in by_latency(report) if not is_variant(p)]


def number(value: float | None, part: bool = False) -> str:
    """Three figures, for people."""
    if value is None:
        return "–"
    if part:
        return f"{value:.1%}" if value < 0.9995 else "100%"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:.2e}"
