"""Plots of one report, as plain plotly figures: mean latency, fairness, load. Pure: report in, figure out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from evals.suite.looks import BOUND, INK, Spec, axis, faint, frame, log_axis, look
from evals.suite.reading import by_latency, number
from evals.suite.variants import PRODUCT, alpha_of, is_variant

Report = Mapping[str, Any]


def means_bar(report: Report) -> Spec:
    """Mean latency with its interval, and the lower bound."""
    names = by_latency(report)
    figures = [report["policies"][p]["mean_latency_s"] for p in names]
    means = [f["mean"] for f in figures]
    ends = [f["ci95"] or [f["mean"], f["mean"]] for f in figures]
    bar = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": means,
        "marker": {"color": [_fill(p, i) for i, p in enumerate(names)]},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [e[1] - m for e, m in zip(ends, means, strict=True)],
            # A logarithmic axis has no place for an end at or below zero.
            "arrayminus": [min(m - e[0], 0.9 * m) for e, m in zip(ends, means, strict=True)],
            "color": INK,
            "thickness": 1.4,
        },
        "hovertemplate": "%{y}: %{x:.3g} s<extra></extra>",
    }
    least = report["bounds"]["lower_bound_mean_latency_s"]
    wide = max(e[1] for e in ends) / max(min(means), 1e-9) > 8
    words = {
        "type": "scatter",
        "mode": "text",
        "y": names,
        "x": [e[1] for e in ends],
        "text": [f"  {number(m)} s" for m in means],
        "textposition": "middle right",
        "cliponaxis": False,
        "hoverinfo": "skip",
    }
    low = (least or min(means)) * 0.6 if wide else 0.0
    high = max(e[1] for e in ends) * (2.5 if wide else 1.15)
    layout = frame(
        90 + 30 * len(names),
        showlegend=False,
        xaxis=log_axis("mean latency, s (logarithmic)", low, high)
        if wide
        else axis("mean latency, s", range=[low, high]),
        yaxis=axis(autorange="reversed", ticks=""),
        bargap=0.3,
    )
    if least:
        at = math.log10(least) if wide else least
        layout["shapes"] = [
            {"type": "line", "x0": least, "x1": least, "y0": 0, "y1": 1, "yref": "paper",
             "line": {"color": BOUND, "width": 2, "dash": "dash"}}
        ]  # fmt: skip
        layout["annotations"] = [
            {"x": at, "y": 1.0, "yref": "paper", "yanchor": "bottom", "xanchor": "left", "showarrow": False,
             "text": f"lower bound {least:.3g} s", "font": {"color": BOUND, "size": 12}}
        ]  # fmt: skip
    return {"data": [bar, words], "layout": layout}


def _fill(policy: str, place: int) -> str:
    colour = look(policy, place).colour
    return faint(colour) if is_variant(policy) else colour


def fairness(report: Report) -> Spec:
    """Mean latency against fairness: up and to the left is better."""
    names = by_latency(report)
    data: list[Spec] = []
    for place, policy in enumerate(names):
        if is_variant(policy):
            continue
        figures = report["policies"][policy]
        x, y = figures["mean_latency_s"], figures["jain_normalized"]
        if x["mean"] is None or y["mean"] is None:
            continue
        drawn = look(policy, place)
        bars = {}
        for key, value in (("error_x", x), ("error_y", y)):
            low, high = value["ci95"] or [value["mean"], value["mean"]]
            bars[key] = {
                "type": "data", "symmetric": False, "array": [high - value["mean"]],
                "arrayminus": [min(value["mean"] - low, 0.9 * value["mean"])], "thickness": 0.8, "width": 0,
                "color": faint(drawn.colour),
            }  # fmt: skip
        data.append({
            "type": "scatter", "mode": "markers", "name": policy, "x": [x["mean"]], "y": [y["mean"]], **bars,
            "marker": {"color": drawn.colour, "symbol": drawn.symbol, "size": 13,
                       "line": {"width": 1.5, "color": drawn.colour}},
            "hovertemplate": f"{policy}: %{{x:.3g}} s, J %{{y:.3f}}<extra></extra>",
        })  # fmt: skip
    data += _frontier(report)
    least = report["bounds"]["lower_bound_mean_latency_s"]
    shown = [x for d in data for x in d["x"]] + ([least] if least else []) or [1.0]
    layout = frame(
        430,
        xaxis=log_axis("mean latency, s (logarithmic)", 0.8 * min(shown), 1.5 * max(shown)),
        yaxis=axis("normalised Jain of 1/slowdown"),
        legend={"orientation": "v", "x": 1.02, "y": 1, "font": {"size": 12}},
    )
    if least:
        layout["shapes"] = [
            {"type": "line", "x0": least, "x1": least, "y0": 0, "y1": 1, "yref": "paper",
             "line": {"color": BOUND, "width": 2, "dash": "dash"}}
        ]  # fmt: skip
    return {"data": data, "layout": layout}


def _frontier(report: Report) -> list[Spec]:
    """The product over α, as far as it was run at several."""
    variants = sorted((a, p) for p in report["policies"] if (a := alpha_of(p)) is not None)
    figures = [report["policies"][p] for _, p in variants]
    if not figures or any(f["mean_latency_s"]["mean"] is None for f in figures):
        return []
    return [{
        "type": "scatter", "mode": "lines+markers+text", "name": f"{PRODUCT} over α",
        "x": [f["mean_latency_s"]["mean"] for f in figures], "y": [f["jain_normalized"]["mean"] for f in figures],
        "text": [f"α={a:g}" for a, _ in variants], "textposition": "bottom center", "textfont": {"size": 10},
        "line": {"color": look(PRODUCT).colour, "dash": "dot", "width": 1.5},
        "marker": {"symbol": "star-open", "size": 9},
    }]  # fmt: skip


def sweep(
    points: Mapping[str, Sequence[tuple[float, float, float, float]]], least: Sequence[tuple[float, float]]
) -> Spec:
    """Mean latency over load. points: {policy: [(load, mean, low, high)]}, ascending in load; least: the lower
    bound."""
    data: list[Spec] = []
    for place, (policy, line) in enumerate(points.items()):
        drawn = look(policy, place)
        data.append({
            "type": "scatter", "mode": "lines+markers", "name": policy,
            "x": [p[0] for p in line], "y": [p[1] for p in line],
            "line": {"color": drawn.colour, "dash": drawn.dash, "width": drawn.width},
            "marker": {"symbol": drawn.symbol, "size": 8},
            "error_y": {
                "type": "data", "symmetric": False, "thickness": 1, "width": 3, "color": drawn.colour,
                "array": [p[3] - p[1] for p in line], "arrayminus": [min(p[1] - p[2], 0.9 * p[1]) for p in line],
            },
            "hovertemplate": f"{policy} at load %{{x:.2f}}: %{{y:.3g}} s<extra></extra>",
        })  # fmt: skip
    data.append({
        "type": "scatter", "mode": "lines", "name": "lower bound",
        "x": [p[0] for p in least], "y": [p[1] for p in least],
        "line": {"color": BOUND, "dash": "dash", "width": 2}, "fill": "tozeroy", "fillcolor": "rgba(179,38,30,0.06)",
    })  # fmt: skip
    shown = [p[1] for line in points.values() for p in line] + [v for _, v in least if v > 0]
    layout = frame(
        520,
        xaxis=axis("realised load"),
        yaxis=log_axis("mean latency, s (logarithmic)", 0.7 * min(shown), 1.5 * max(shown)),
        legend={"orientation": "v", "x": 1.02, "y": 1, "font": {"size": 12}},
    )
    return {"data": data, "layout": layout}
