"""Plots over time: prompts in the system around shifts, and which models stood where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evals.suite.digest import BINS, PLACEMENT_BINS
from evals.suite.looks import Spec, axis, frame, look, model_colour

BEFORE_S = 600.0  # shown ahead of a shift
FAR_BEHIND = 4.0
NOTHING = "#f4f5f7"


def in_system(
    lines: Mapping[str, Sequence[float]],
    duration_s: float,
    shifts: Sequence[Mapping[str, Any]],
    around: int | None = None,
) -> Spec:
    """Prompts in the system over the run. lines: {policy: [BINS] mean over seeds}. around: only near that shift."""
    width = duration_s / BINS
    times = [(i + 0.5) * width / 60 for i in range(BINS)]
    data: list[Spec] = [
        {
            "type": "scatter", "mode": "lines", "name": policy, "x": times, "y": list(line),
            "line": {"color": (drawn := look(policy, i)).colour, "dash": drawn.dash, "width": drawn.width},
            "hovertemplate": f"{policy}: %{{y:.1f}} prompts<extra></extra>",
        }
        for i, (policy, line) in enumerate(lines.items())
    ]  # fmt: skip
    layout = frame(430, xaxis=axis("time, min"), yaxis=axis("prompts in the system", rangemode="tozero"))
    layout["hovermode"] = "x unified"
    layout["legend"] |= {"y": 1.08}
    layout["margin"] |= {"t": 70}
    span = (0.0, duration_s)
    if around is not None:
        shift = shifts[around]
        span = (max(0.0, shift["from_s"] - BEFORE_S), min(duration_s, shift["until_s"] + BEFORE_S / 2))
    layout["xaxis"]["range"] = [s / 60 for s in span]
    seen = [i for i, t in enumerate(times) if span[0] <= t * 60 <= span[1]]
    tops = [max((line[i] for i in seen), default=1.0) for line in lines.values()]
    # A policy that is far behind runs out of the picture rather than press the others to its floor.
    layout["yaxis"]["range"] = [0, 1.05 * max(1.0, min(max(tops), FAR_BEHIND * min(tops)))]
    layout["shapes"] = [
        {"type": "line", "x0": s["from_s"] / 60, "x1": s["from_s"] / 60, "y0": 0, "y1": 1, "yref": "paper",
         "line": {"color": "#555", "width": 1.5, "dash": "dot"}}
        for s in shifts
    ]  # fmt: skip
    layout["annotations"] = [
        {"x": s["from_s"] / 60, "y": 1, "yref": "paper", "xanchor": "left", "yanchor": "top", "showarrow": False,
         "text": f" {s['label']}", "font": {"size": 12, "color": "#555"}, "bgcolor": "rgba(255,255,255,0.8)"}
        for s in shifts
    ]  # fmt: skip
    return {"data": data, "layout": layout}


def placement_map(
    placements: Mapping[str, Mapping[str, Mapping[str, str]]],
    nodes: Sequence[str],
    models: Sequence[str],
    duration_s: float,
) -> Spec:
    """Node × time, coloured by model, a choice of policies. placements: {policy: {node: {model: digits 0–9}}}.

    A row for each model that some policy ever had on the node, so that rows mean the same under every policy.
    """
    rows = [(n, m) for n in nodes for m in models if any(p.get(n, {}).get(m) for p in placements.values())]
    labels = [f"{n} · {m}" for n, m in rows]
    minutes = [(i + 0.5) * duration_s / PLACEMENT_BINS / 60 for i in range(PLACEMENT_BINS)]
    data: list[Spec] = []
    for i, (_policy, held) in enumerate(placements.items()):
        z = [
            [models.index(m) + 1 if int(c) >= 5 else 0 for c in held.get(n, {}).get(m, "0" * PLACEMENT_BINS)]
            for n, m in rows
        ]
        data.append({
            "type": "heatmap", "x": minutes, "y": labels, "z": z, "zmin": 0, "zmax": max(1, len(models)),
            "colorscale": _steps(len(models)), "showscale": False, "visible": i == 0, "ygap": 1,
            "hovertemplate": "%{y}, minute %{x:.0f}<extra></extra>",
        })  # fmt: skip
    layout = frame(
        110 + max(13, min(22, 2000 // max(1, len(rows)))) * len(rows),
        xaxis=axis("time, min"),
        yaxis=axis(autorange="reversed", ticks="", tickfont={"size": 11}, dtick=1),
        showlegend=False,
    )
    layout["margin"] |= {"t": 50}
    layout["shapes"] = _between(rows)
    layout["updatemenus"] = [_choice(list(placements))]
    return {"data": data, "layout": layout}


def replica_counts(
    ready: Mapping[str, Mapping[str, Sequence[float]]], models: Sequence[str], duration_s: float
) -> Spec:
    """Ready replicas of each model over time, a choice of policies: for clusters too large for a map."""
    minutes = [(i + 0.5) * duration_s / PLACEMENT_BINS / 60 for i in range(PLACEMENT_BINS)]
    data: list[Spec] = [
        {
            "type": "scatter", "mode": "lines", "name": model, "x": minutes, "y": list(counts.get(model, ())),
            "visible": i == 0, "line": {"color": model_colour(models.index(model)), "width": 1.6, "shape": "hv"},
        }
        for i, counts in enumerate(ready.values())
        for model in models
    ]  # fmt: skip
    layout = frame(460, xaxis=axis("time, min"), yaxis=axis("ready replicas", rangemode="tozero"))
    layout["legend"] = {"orientation": "v", "x": 1.02, "y": 1, "font": {"size": 11}}
    layout["margin"] |= {"t": 50}
    layout["updatemenus"] = [_choice(list(ready), each=len(models))]
    return {"data": data, "layout": layout}


def _choice(policies: Sequence[str], each: int = 1) -> Spec:
    """A menu that shows the traces of one policy; each: traces by policy."""
    shown = [[p == q for q in policies for _ in range(each)] for p in policies]
    buttons = [
        {"label": p, "method": "update", "args": [{"visible": s}]} for p, s in zip(policies, shown, strict=True)
    ]  # fmt: skip
    return {
        "buttons": buttons, "direction": "down", "x": 0, "xanchor": "left", "y": 1.0, "yanchor": "bottom",
        "pad": {"b": 8},
        "bgcolor": "#ffffff", "bordercolor": "#9aa3ad",
    }  # fmt: skip


def _steps(models: int) -> list[list[Any]]:
    """A scale of flat steps: nothing, then a colour for each model."""
    parts = max(1, models) + 1
    colours = [NOTHING, *(model_colour(i) for i in range(parts - 1))]
    return [[(i + end) / parts, c] for i, c in enumerate(colours) for end in (0, 1)]


def _between(rows: Sequence[tuple[str, str]]) -> list[Spec]:
    """A line between nodes."""
    return [
        {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": i - 0.5, "y1": i - 0.5,
         "line": {"color": "#9aa3ad", "width": 1}}
        for i in range(1, len(rows))
        if rows[i][0] != rows[i - 1][0]
    ]  # fmt: skip
