"""Several scenarios in one go: a page that draws them together, and leads to the report of each."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from evals.suite import html, plots
from evals.suite.reading import number
from evals.suite.tables import with_interval
from evals.suite.variants import PRODUCT

Reports = Mapping[str, Mapping[str, Any]]  # {folder of the scenario's report: the report}


def summary(reports: Reports) -> dict[str, Any]:
    """The one document of a sweep."""
    return {"scenarios": dict(reports), "valid": all(r["valid"] for r in reports.values())}


def render(reports: Reports) -> str:
    """The page of a sweep: mean latency over load with the bound, then each scenario's verdict."""
    parts = ["<h1>Load sweep</h1>" if _loads_differ(reports) else "<h1>Scenarios</h1>"]
    parts.append(html.paragraph(f"{len(reports)} scenarios, each with a report of its own.", "quiet"))
    if _loads_differ(reports):
        parts.append(html.figure("sweep", plots.sweep(*_points(reports))))
    parts.append(_table(reports))
    for folder, report in reports.items():
        where = html.text(folder)
        parts.append(f'<h2><a href="{where}/report.html">{html.text(report["scenario"])}</a></h2>')
        parts += [html.paragraph(s) for s in report["verdict"]]
    return html.page("edgewise eval", parts)


def _load(report: Mapping[str, Any]) -> float:
    loads = report["card"]["realised_load"]
    return float(sum(loads) / len(loads))


def _loads_differ(reports: Reports) -> bool:
    loads = sorted(_load(r) for r in reports.values())
    return len(loads) > 1 and all(b - a > 0.02 for a, b in pairwise(loads))


def _points(reports: Reports) -> tuple[dict[str, list[tuple[float, float, float, float]]], list[tuple[float, float]]]:
    ordered = sorted(reports.values(), key=_load)
    points: dict[str, list[tuple[float, float, float, float]]] = {}
    for report in ordered:
        for policy, figures in report["policies"].items():
            latency = figures["mean_latency_s"]
            if latency["mean"] is not None:
                low, high = latency["ci95"] or (latency["mean"], latency["mean"])
                points.setdefault(policy, []).append((_load(report), latency["mean"], low, high))
    last = {p: line[-1][1] for p, line in points.items()}
    least = [(_load(r), r["bounds"]["lower_bound_mean_latency_s"]) for r in ordered]
    return dict(sorted(points.items(), key=lambda item: last[item[0]])), least


def _table(reports: Reports) -> str:
    policies = list(dict.fromkeys(p for r in reports.values() for p in r["policies"]))
    rows: list[list[Any]] = [["load", *(number(_load(r)) for r in reports.values())]]
    rows.append(["lower bound", *(number(r["bounds"]["lower_bound_mean_latency_s"]) for r in reports.values())])
    for policy in policies:
        figures = [r["policies"].get(policy, {}).get("mean_latency_s") for r in reports.values()]
        rows.append([policy, *(with_interval(f) for f in figures)])
    return html.table(["mean latency, s", *(r["scenario"] for r in reports.values())], rows, own=PRODUCT)
