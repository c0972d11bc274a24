"""Plots of the kinds of prompts, each model's for itself: distributions of latency, p99, attainment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evals.suite.digest import PROBABILITIES
from evals.suite.looks import GRID, Spec, axis, frame, log_axis, look, model_colour
from evals.suite.reading import choices

Report = Mapping[str, Any]
Quantiles = Mapping[str, Mapping[str, Sequence[float]]]  # {policy: {model: latency in s at PROBABILITIES}}, one seed
SYMBOLS = ("circle", "square", "diamond", "triangle-up")
FAR_BEHIND = 20.0  # times the slowest prompt of the fastest policy; what is slower leaves the picture
MOST_PANELS = 9  # models with a panel of their own


def distributions(quantiles: Quantiles, models: Sequence[str], names: Sequence[str]) -> Spec:
    """The part of prompts answered within each time, a panel for each model: distance from the top is the tail."""
    panels = ["", *models[:MOST_PANELS]]
    columns = 2 if len(panels) <= 5 else 3
    rows = -(-len(panels) // columns)
    data, annotations = [], []
    layout = frame(90 + 270 * rows, grid={"rows": rows, "columns": columns, "pattern": "independent", "ygap": 0.28})
    for i, model in enumerate(panels):
        suffix = "" if i == 0 else str(i + 1)
        for place, policy in enumerate(names):
            line = quantiles[policy].get(model) or []
            drawn = look(policy, place)
            data.append({
                "type": "scatter", "mode": "lines", "name": policy, "legendgroup": policy, "showlegend": i == 0,
                "x": [max(v, 1e-3) for v in line], "y": list(PROBABILITIES)[: len(line)],
                "xaxis": f"x{suffix}", "yaxis": f"y{suffix}",
                "line": {"color": drawn.colour, "dash": drawn.dash, "width": drawn.width},
                "hovertemplate": f"{policy}: %{{y:.1%}} within %{{x:.3g}} s<extra></extra>",
            })  # fmt: skip
        lines = [found for p in names if (found := quantiles[p].get(model))]
        low = max(min((line[1] for line in lines), default=0.1), 1e-3)
        high = min(
            max((line[-1] for line in lines), default=1), FAR_BEHIND * min((line[-1] for line in lines), default=1)
        )
        title = "latency, s" if i >= len(panels) - columns else ""
        layout[f"xaxis{suffix}"] = log_axis(title, low, max(high, 2 * low), columns)
        layout[f"yaxis{suffix}"] = axis(range=[0, 1.005], tickformat=".0%")
        annotations.append({
            "text": f"<b>{model or 'all prompts'}</b>", "showarrow": False, "xref": f"x{suffix} domain",
            "yref": f"y{suffix} domain", "x": 0.0, "y": 1.0, "xanchor": "left", "yanchor": "bottom",
        })  # fmt: skip
    layout["annotations"] = annotations
    layout["legend"] |= {"y": 1.0 + 0.14 / rows}
    layout["margin"] |= {"t": 80}
    return {"data": data, "layout": layout}


def by_kind(report: Report, metric: str, title: str, log: bool) -> Spec:
    """One metric of each model under each policy, with intervals."""
    names = choices(report)
    models = sorted({m for p in names for m in report["policies"][p]["per_model"]})[:MOST_PANELS]
    data = []
    apart = 0.7 / max(
        1, len(models)
    )  # each model a little lower than the one before, so that intervals do not overlap
    for i, model in enumerate(models):
        cells = [report["policies"][p]["per_model"].get(model, {}).get(metric) for p in names]
        found = [(p, c) for p, c in enumerate(cells) if c and c["mean"] is not None]
        ends = [c["ci95"] or [c["mean"], c["mean"]] for _, c in found]
        data.append({
            "type": "scatter", "mode": "markers", "name": model,
            "y": [p + (i - (len(models) - 1) / 2) * apart for p, _ in found],
            "customdata": [names[p] for p, _ in found],
            "x": [c["mean"] for _, c in found],
            "marker": {"color": model_colour(i), "size": 8, "symbol": SYMBOLS[i % len(SYMBOLS)]},
            "error_x": {
                "type": "data", "symmetric": False, "thickness": 1, "width": 3, "color": model_colour(i),
                "array": [e[1] - c["mean"] for e, (_, c) in zip(ends, found, strict=True)],
                "arrayminus": [min(c["mean"] - e[0], 0.9 * c["mean"]) for e, (_, c) in zip(ends, found, strict=True)],
            },
            "hovertemplate": f"%{{customdata}}, {model}: %{{x:.3g}}<extra></extra>",
        })  # fmt: skip
    values = [v for d in data for v in d["x"] if v > 0] or [1.0]
    across = log_axis(title, 0.5 * min(values), 2 * max(values)) if log else axis(title, tickformat=".0%")
    places = list(range(len(names)))
    down = axis(ticks="", tickvals=places, ticktext=names, range=[len(names) - 0.5, -0.5], showgrid=False)
    layout = frame(110 + 40 * len(names), xaxis=across, yaxis=down)
    layout["shapes"] = [
        {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": p - 0.5, "y1": p - 0.5,
         "line": {"color": GRID, "width": 1}}
        for p in places[1:]
    ]  # fmt: skip
    return {"data": data, "layout": layout}
