"""Data to plotly figures; pure. Streamlit's plotly theme gives them the page's light or dark colours."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from edgewise.domain.records import PromptRow, PromptStatus
from serving.control_api.schema import DecisionRow, RunState
from ui.palette import GRID, OTHER, RUNGS, ink, model_colours
from ui.words import clock, outcome, percent, seconds

_BARS = (("p50", "p50_latency_s", 0.45), ("mean", "mean_latency_s", 0.7), ("p95", "p95_latency_s", 1.0))
_DECADES = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
_STATUS_SYMBOLS = {"completed": "circle", "shed": "x", "failed": "x", "cancelled": "line-ew-open", "pending": "star"}


def _layout(figure: go.Figure, height: int, **more: object) -> go.Figure:
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 16, "t": 30, "b": 8},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "title": None},
        uirevision="keep",  # a refresh keeps the reader's zoom
        **more,
    )
    figure.update_xaxes(gridcolor=GRID, zeroline=False)
    figure.update_yaxes(gridcolor=GRID, zeroline=False)
    return figure


def latency_figure(state: RunState) -> go.Figure:
    """Latency per model, s: p50, mean, p95 as far as they are known."""
    names = [m.model for m in state.models]
    colours = model_colours(names)
    figure = go.Figure()
    for label, attribute, opacity in _BARS:
        values = [getattr(m, attribute) for m in state.models]
        if all(v is None for v in values):
            continue
        figure.add_bar(
            y=names,
            x=values,
            name=label,
            orientation="h",
            marker={"color": [colours[n] for n in names], "opacity": opacity},
            text=[f"{label} {seconds(v)}" if v is not None else "" for v in values],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{text}<extra></extra>",
        )
    top = max((m.p95_latency_s or m.mean_latency_s or 0.0 for m in state.models), default=0.0)
    figure.update_xaxes(title="latency (s)", range=[0, max(top, 1e-3) * 1.22])
    figure.update_yaxes(autorange="reversed")
    return _layout(figure, 120 + 62 * len(names), barmode="group", bargap=0.25, showlegend=False)


def fairness_figure(state: RunState) -> go.Figure:
    """x = 1 / slowdown per model: equal bars are fair, long bars are fast."""
    shown = [m for m in state.models if m.model in state.fairness.x]
    names = [m.model for m in shown]
    colours = model_colours([m.model for m in state.models])
    x = [state.fairness.x[n] for n in names]
    figure = go.Figure(
        go.Bar(
            y=names,
            x=x,
            orientation="h",
            marker={"color": [colours[n] for n in names]},
            text=[
                f"x {v:.2f} · slowdown {m.slowdown:.2f}×" if m.slowdown else f"x {v:.2f}"
                for v, m in zip(x, shown, strict=True)
            ],
            textposition="auto",
            insidetextanchor="start",
            insidetextfont={"color": [ink(colours[n]) for n in names]},
            hovertemplate="%{y}: %{text}<extra></extra>",
        )
    )
    if x:
        mean = sum(x) / len(x)
        figure.add_vline(
            x=mean, line={"dash": "dot", "color": OTHER}, annotation_text=f"mean {mean:.2f}", annotation_yshift=16
        )
    figure.update_xaxes(title="x = 1 / slowdown (1 = as if alone)", range=[0, 1.02])
    figure.update_yaxes(autorange="reversed")
    return _layout(figure, 120 + 62 * len(state.models), bargap=0.35, showlegend=False)


def trail_figure(prompts: Sequence[PromptRow], models: list[str]) -> go.Figure:
    """Latency of the newest prompts over the run's time, one dot each, log scale."""
    colours = model_colours(models)
    figure = go.Figure()
    for model in models:
        rows = [p for p in prompts if p.model == model and p.finished_s is not None]
        if not rows:
            continue
        latency = [(p.finished_s or 0.0) - p.arrived_s for p in rows]
        figure.add_scatter(
            x=[p.finished_s for p in rows],
            y=latency,
            name=model,
            mode="markers",
            marker={
                "color": colours[model],
                "size": 7,
                "opacity": 0.75,
                "symbol": [_STATUS_SYMBOLS[p.status.value] for p in rows],
            },
            text=[_prompt_text(p, v) for p, v in zip(rows, latency, strict=True)],
            hovertemplate="%{text}<extra></extra>",
        )
    figure.update_xaxes(title="answered at (s since the start)")
    figure.update_yaxes(title="latency (s)", type="log", tickvals=_DECADES, ticktext=[f"{v:g}" for v in _DECADES])
    return _layout(figure, 300, showlegend=True)


def _prompt_text(row: PromptRow, latency_s: float) -> str:
    cold = ", after a load" if row.cold_start else ""
    ended = "" if row.status is PromptStatus.COMPLETED else f", {row.status.value}"
    return f"{row.id} · {row.model} on {row.node}<br>{seconds(latency_s)}{cold}{ended}"


def timeline_figure(rows: Sequence[DecisionRow], picked: str = "") -> go.Figure:
    """Decisions over the run's time: height is the margin, colour the rung, filled a new plan, open a kept one."""
    figure = go.Figure()
    for rung in dict.fromkeys([*RUNGS, *(r.rung for r in rows)]):
        # New plans first: the legend shows the first mark's shape.
        mine = sorted((r for r in rows if r.rung == rung), key=lambda r: outcome(r) != "new plan")
        if not mine:
            continue
        figure.add_scatter(
            x=[r.at_s for r in mine],
            y=[None if r.margin is None else 100 * r.margin for r in mine],
            name=rung,
            mode="markers",
            customdata=[r.id for r in mine],
            opacity=1,
            marker={
                "color": RUNGS.get(rung, OTHER),
                "size": [16 if r.id == picked else 10 for r in mine],
                "symbol": [_symbol(r) for r in mine],
                "line": {"width": 2, "color": RUNGS.get(rung, OTHER)},
            },
            text=[_decision_text(r) for r in mine],
            hovertemplate="%{text}<extra></extra>",
        )
    required = [r.required for r in rows if r.required is not None]
    if required:
        level = 100 * required[0]
        figure.add_hline(
            y=level,
            line={"dash": "dot", "color": OTHER},
            annotation_text=f"gain needed: {level:.1f} %",
            annotation_position="top left",
        )
    figure.update_xaxes(title="decided at (s since the start)")
    figure.update_yaxes(title="margin over the runner-up (%)", rangemode="tozero")
    return _layout(figure, 300, showlegend=True, clickmode="event+select")


def _symbol(row: DecisionRow) -> str:
    shape = {"active": "circle", "advisory": "diamond"}.get(row.mode.value, "square")
    return shape if outcome(row) == "new plan" else f"{shape}-open"


def _decision_text(row: DecisionRow) -> str:
    return (
        f"{row.id} · slot {row.slot} · {clock(row.at_s)}<br>{row.rung}, {outcome(row)}, margin {percent(row.margin)}"
    )


def candidates_figure(row: DecisionRow) -> go.Figure:
    """Predicted objective of every candidate with its 95 % interval; lower is better."""
    figure = go.Figure()
    for candidate in row.candidates:
        if candidate.score is None:
            continue
        chosen = candidate.plan == row.chosen if candidate.plan else candidate.source == row.chosen
        low, high = candidate.interval or (candidate.score, candidate.score)
        figure.add_scatter(
            x=[candidate.score],
            y=[candidate.source],
            mode="markers+text",
            marker={
                "size": 13,
                "color": "#009E73" if chosen else OTHER,
                "symbol": "circle" if chosen else "circle-open",
            },
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [high - candidate.score],
                "arrayminus": [candidate.score - low],
                "thickness": 2,
            },
            text=[f"{candidate.score:.2f}{' ✓ chosen' if chosen else ''}"],
            textposition="top center",
            hovertemplate=f"%{{y}}: {candidate.score:.3f}, 95 % {low:.3f} to {high:.3f}<extra></extra>",
        )
    figure.update_xaxes(title="predicted objective, 95 % interval (lower is better)")
    figure.update_yaxes(range=[len(figure.data) - 0.5, -0.7])
    return _layout(figure, 110 + 50 * max(1, len(row.candidates)), showlegend=False)


def hindsight_figure(rows: Sequence[DecisionRow], picked: str) -> go.Figure | None:
    """A point for each plan that was run again on the prompts that came; None while there is none."""
    figure = go.Figure()
    points = [
        (row, x) for row in rows if row.realised and row.realised.hindsight for x in row.realised.hindsight.plans[1:]
    ]
    if not points:
        return None
    for source in sorted({x.source for _, x in points}):
        mine = [(row, x) for row, x in points if x.source == source]
        figure.add_scatter(
            x=[_cut(x.predicted_gain) for _, x in mine],
            y=[_cut(x.gain) for _, x in mine],
            mode="markers",
            name=source,
            customdata=[row.id for row, _ in mine],
            marker={
                "color": RUNGS.get(source, OTHER),
                "size": [14 if row.id == picked else 8 for row, _ in mine],
                "symbol": ["circle" if row.accepted and x.plan == row.chosen else "circle-open" for row, x in mine],
            },
            hovertemplate="%{customdata}: predicted %{x:+.1%}, in hindsight %{y:+.1%}<extra></extra>",
        )
    figure.add_shape(type="line", x0=-1, y0=-1, x1=1, y1=1, line={"dash": "dash", "width": 1, "color": OTHER})
    figure.update_xaxes(title="predicted gain", tickformat="+.0%", range=[-1.05, 1.05])
    figure.update_yaxes(title="gain in hindsight", tickformat="+.0%", range=[-1.05, 1.05])
    return _layout(figure, 320)


def _cut(gain: float) -> float:
    """Gains of plans in deep overload have no end; the picture has."""
    return max(-1.0, min(1.0, gain))
