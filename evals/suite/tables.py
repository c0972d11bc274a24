"""Tables of the report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evals.suite.html import Raw, table
from evals.suite.reading import by_latency, number
from evals.suite.variants import PRODUCT

Report = Mapping[str, Any]
_SHORT = (
    ("mean_latency_s", "mean latency, s"), ("p50_latency_s", "p50, s"), ("p95_latency_s", "p95, s"),
    ("p99_latency_s", "p99, s"),
    ("mean_slowdown", "slowdown"), ("jain_normalized", "normalised Jain"), ("worst_attainment", "worst kind in time"),
    ("churn", "churn"), ("energy_j_per_prompt", "J/prompt"),
)  # fmt: skip
_PARTS = frozenset({"worst_attainment"})
COMPARED = (
    ("mean_latency_s", "Mean latency"), ("p99_latency_s", "p99 latency"), ("jain_normalized", "Normalised Jain"),
)  # fmt: skip
_LESS_IS_BETTER = {"mean_latency_s": True, "p99_latency_s": True, "jain_normalized": False}


def with_interval(figure: Mapping[str, Any] | None, part: bool = False) -> Raw:
    """Mean, and below it the 95 % interval."""
    if figure is None or figure["mean"] is None:
        return Raw("–")
    ends = figure["ci95"]
    if not ends or math.isclose(ends[0], ends[1], rel_tol=1e-9):
        return Raw(number(figure["mean"], part))
    return Raw(f"{number(figure['mean'], part)}<br><small>{number(ends[0], part)} … {number(ends[1], part)}</small>")


def overview(report: Report) -> str:
    """Each policy's main figures, the lowest mean latency first."""
    rows = []
    for policy in by_latency(report):
        figures = report["policies"][policy]
        rows.append([policy, *(with_interval(figures.get(k), k in _PARTS) for k, _ in _SHORT)])
    return table(["policy", *(name for _, name in _SHORT)], rows, own=PRODUCT)


def adaptation(report: Report) -> str:
    """Request-seconds beyond the clairvoyant's after shifts, the least first; together, and by shift."""
    found = report["adaptation_detail"]
    names = sorted(found, key=lambda p: math.inf if found[p]["mean"] is None else found[p]["mean"])
    rows = [[p, with_interval(found[p]), *(number(v) for v in found[p]["per_shift"])] for p in names]
    return table(["policy", "together", *(s["label"] for s in report["shifts"])], rows, own=PRODUCT)


def everything(metrics_of: Mapping[str, Mapping[str, Any]]) -> str:
    """All metrics of all policies. metrics_of: {policy: {metric: {mean, ci95}}}."""
    names = dict.fromkeys(m for figures in metrics_of.values() for m in figures if m != "per_model")
    rows = [[name, *(with_interval(figures.get(name)) for figures in metrics_of.values())] for name in names]
    return table(["metric", *metrics_of], rows)


def per_model(report: Report) -> Iterator[tuple[str, str]]:
    """(model, table) of all metrics."""
    names = by_latency(report)
    for model in sorted({m for p in names for m in report["policies"][p]["per_model"]}):
        yield model, everything({p: report["policies"][p]["per_model"].get(model, {}) for p in names})


def ratios(report: Report, metric: str) -> str:
    """Row over column. Green: the row is better beyond its interval; red: worse; grey: not told apart."""
    names = by_latency(report)
    rows = []
    for a in names:
        cells: list[Any] = [a]
        for b in names:
            pair = report["paired"].get(f"{a}/{b}", {}).get(metric)
            cells.append(("level", "·") if a == b else _ratio(pair, _LESS_IS_BETTER[metric]))
        rows.append(cells)
    return table(["row / column", *names], rows)


def _ratio(pair: Mapping[str, Any] | None, less: bool) -> tuple[str, Raw]:
    if not pair or pair["ratio"] is None:
        return "level", Raw("–")
    ends: Sequence[float] | None = pair["ci95"]
    words = _times(pair["ratio"])
    if not ends:
        return "level", Raw(words)
    low, high = map(_times, ends)
    kind = "level" if ends[0] <= 1 <= ends[1] else "better" if (ends[1] < 1) == less else "worse"
    return kind, Raw(f"{words}<br><small>{low} … {high}</small>")


def _times(value: float) -> str:
    return f"{value:.1g}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def card(report: Report) -> str:
    """What the prompts amount to, mean and range over seeds."""
    found = report["card"]
    rows = [[name, _range(found[key])] for key, name in (
        ("prompts", "prompts"), ("realised_load", "load"), ("peak_load_5min", "highest load of five minutes"),
        ("largest_backlog_s", "largest backlog, s of the whole capacity"),
        ("largest_backlog_prompts", "largest backlog, prompts"),
        ("dispersion", "dispersion of 30 s counts (Poisson: 1)"),
    )]  # fmt: skip
    return table(["over seeds", "mean (least … most)"], rows)


def card_models(report: Report) -> str:
    seeds = report["card"]["per_model"]
    rows = [
        [m, *(_range([s[m][k] for s in seeds], k in ("share", "work_share")) for k in
              ("prompts", "share", "work_share", "mean_service_s", "dispersion"))]
        for m in seeds[0]
    ]  # fmt: skip
    return table(["model", "prompts", "of all prompts", "of all work", "mean service, s", "dispersion"], rows)


def _range(values: Sequence[float], part: bool = False) -> Raw:
    mean = sum(values) / len(values)
    if min(values) == max(values):
        return Raw(number(mean, part))
    return Raw(f"{number(mean, part)} <small>({number(min(values), part)} … {number(max(values), part)})</small>")


def hindsight(seen: Mapping[str, Any]) -> str:
    """Calibration of the gate over all plans, and by who proposed them."""
    heads = ("plans of", "weighed", "accepted", "slope", "intercept", "predicted − hindsight", "spread",
             "gate right", "right of accepted", "regretted")  # fmt: skip
    rows = []
    for name, c in (("all", seen["figures"]), *seen["by_source"].items()):
        parts = [_share(c[k]) for k in ("intercept", "bias", "spread", "right", "right_accepted", "regretted")]
        slope = "–" if c["slope"] is None else f"{c['slope']:.2f}"
        rows.append((name, str(c["lines"]), str(c["accepted"]), slope, *parts))
    return table(heads, rows)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
