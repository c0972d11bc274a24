"""The report on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from evals.suite.plots import by_latency
from evals.suite.tables import number

_COLUMNS = (
    ("mean_latency_s", "mean s"), ("p50_latency_s", "p50"), ("p95_latency_s", "p95"), ("p99_latency_s", "p99"),
    ("jain_normalized", "Jain"), ("worst_attainment", "worst in time"), ("churn", "churn"),
)  # fmt: skip


def overview(report: Mapping[str, Any]) -> Table:
    """One row per policy, the lowest mean latency first; intervals of the mean at 95 %."""
    least = report["bounds"]["lower_bound_mean_latency_s"]
    title = f"{report['scenario']}: {len(report['seeds'])} seeds, lower bound {number(least)} s"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("policy", no_wrap=True)
    for _, heading in _COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("adaptation", justify="right", no_wrap=True)
    for policy in by_latency(report):
        figures = report["policies"][policy]
        cells = [number(figures[k]["mean"]) if k in figures else "–" for k, _ in _COLUMNS]
        ends = figures["mean_latency_s"]["ci95"]
        if ends:
            cells[0] += f" [{number(ends[0])}, {number(ends[1])}]"
        table.add_row(policy, *cells, number(report["adaptation"].get(policy)))
    return table
