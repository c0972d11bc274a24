"""The report on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from evals.suite.reading import by_latency, number

_COLUMNS = (
    ("mean_latency_s", "mean s"), ("p99_latency_s", "p99 s"), ("jain_normalized", "Jain"),
    ("worst_attainment", "in time"), ("churn", "churn"),
)  # fmt: skip


def overview(report: Mapping[str, Any]) -> Table:
    """One row per policy, the lowest mean latency first; in time: of the worst-served kind."""
    least = report["bounds"]["lower_bound_mean_latency_s"]
    title = f"{report['scenario']}: {len(report['seeds'])} seeds, lower bound {number(least)} s"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in ("policy", "mean s", "95 %", *(h for _, h in _COLUMNS[1:]), "adapt."):
        table.add_column(heading, justify="left" if heading == "policy" else "right", no_wrap=True)
    for policy in by_latency(report):
        figures = report["policies"][policy]
        mean, *cells = (number(figures[k]["mean"]) if k in figures else "–" for k, _ in _COLUMNS)
        ends = figures["mean_latency_s"]["ci95"]
        around = f"{number(ends[0])} … {number(ends[1])}" if ends else "–"
        table.add_row(policy, mean, around, *cells, number(report["adaptation"].get(policy)))
    return table
