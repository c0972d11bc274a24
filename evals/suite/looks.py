"""Colours, dashes and the frame of every plot. Colours are told apart by colour-blind readers up to eight; from
there on a dash or a symbol helps."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from evals.suite.variants import PRODUCT, is_variant

Spec = dict[str, Any]  # a plotly figure as plain values: {"data": […], "layout": {…}}


class Look(NamedTuple):
    colour: str
    dash: str = "solid"
    symbol: str = "circle"
    width: float = 1.6


POLICIES: dict[str, Look] = {
    "edgewise": Look("#0072B2", "solid", "star", 3.2),
    "edgewise-llm": Look("#56B4E9", "solid", "star-diamond", 2.4),
    "edgewise-unannounced": Look("#0072B2", "dot", "star-open", 2.0),
    "clairvoyant": Look("#111111", "dash", "diamond", 2.0),
    "marginal": Look("#009E73", "solid", "square"),
    "static-optimised": Look("#CC79A7", "solid", "triangle-up"),
    "lew-lru": Look("#D55E00", "solid", "circle"),
    "dpp": Look("#E69F00", "solid", "pentagon"),
    "hdrl": Look("#7B5EA7", "dash", "hexagon"),
    "slot-weights": Look("#8C564B", "dashdot", "triangle-down"),
    "round-robin": Look("#6B6B6B", "dash", "cross"),
    "random": Look("#9A9A9A", "dot", "x"),
    "random-static": Look("#B5A642", "dot", "circle-open"),
    "local-lru": Look("#4A7A4A", "dashdot", "square-open"),
}
MODELS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7B5EA7", "#8C564B", "#6B6B6B", "#B5A642",
)  # fmt: skip
_SPARE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7B5EA7", "#8C564B")
GRID = "#e6e8eb"
INK = "#1d2329"
BOUND = "#B3261E"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def look(policy: str, place: int = 0) -> Look:
    """How a policy is drawn, the same in every report; `place` tells unknown ones apart."""
    if is_variant(policy):
        return Look(POLICIES[PRODUCT].colour, "dot", "star-open", 1.2)
    return POLICIES.get(policy) or Look(_SPARE[place % len(_SPARE)], "longdash")


def model_colour(place: int) -> str:
    return MODELS[place % len(MODELS)]


def faint(colour: str) -> str:
    """A #rrggbb colour that lies behind the others."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.4)"


def frame(height: int, **more: Any) -> Spec:
    """The layout that all plots share."""
    layout: Spec = {
        "height": height,
        "autosize": True,
        "margin": {"l": 70, "r": 20, "t": 30, "b": 56},
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "hoverlabel": {"font": {"size": 12}},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "font": {"size": 12}},
    }
    return layout | more


def axis(title: str = "", **more: Any) -> Spec:
    """A linear axis; see log_axis."""
    found: Spec = {
        "gridcolor": GRID,
        "zeroline": False,
        "linecolor": "#9aa3ad",
        "automargin": True,
        "ticks": "outside",
    }
    if title:
        found["title"] = {"text": title, "standoff": 10}
    return found | more


def log_axis(title: str, low: float, high: float, panels: int = 1) -> Spec:
    """A logarithmic axis over [low, high], both above 0. Ticks as dense as find room; panels: plots
    side by side."""
    ends = [math.log10(low), math.log10(high)]
    decades = (ends[1] - ends[0]) * panels
    ticks: Spec = {"dtick": "D1" if decades < 1 else "D2" if decades <= 6.5 else 1}
    return axis(title, type="log", range=ends, exponentformat="none", tickformat=",~g", **ticks)
