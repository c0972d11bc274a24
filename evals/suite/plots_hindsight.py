"""Predicted against realised gains of the product's decisions; and the figures beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from edgewise.control.calibration import WIDEST, calibration
from edgewise.control.regret import Entry
from evals.suite.looks import INK, Spec, axis, frame

COLOURS = {"optimiser": "#0072B2", "llm": "#CC79A7", "case": "#E69F00", "roll-back": "#009E73"}


def section(runs: Mapping[tuple[str, int], Mapping[str, Any]]) -> dict[str, Any]:
    """{policy: {figures, by_source, lines}} of the policies whose runs kept a ledger; empty when none did."""
    kept: dict[str, list[Entry]] = {}
    for (policy, _), run in sorted(runs.items()):
        kept.setdefault(policy, []).extend(Entry(**line) for line in run.get("hindsight", ()))
    return {
        policy: {
            "figures": asdict(calibration(lines)),
            "by_source": {
                s: asdict(calibration([e for e in lines if e.source == s])) for s in sorted({e.source for e in lines})
            },
            "lines": [asdict(e) for e in lines],
        }
        for policy, lines in kept.items()
        if lines
    }


def scatter(lines: Sequence[Mapping[str, Any]]) -> Spec:
    """On the dashed line a prediction came true. Filled: accepted; open: kept out."""
    data: list[Spec] = [{
        "type": "scatter", "mode": "lines", "x": [-WIDEST, WIDEST], "y": [-WIDEST, WIDEST], "name": "as predicted",
        "line": {"color": INK, "dash": "dash", "width": 1}, "hoverinfo": "skip",
    }]  # fmt: skip
    for source in sorted({e["source"] for e in lines}):
        for accepted in (True, False):
            mine = [e for e in lines if e["source"] == source and e["accepted"] is accepted]
            if mine:
                data.append({
                    "type": "scatter", "mode": "markers",
                    "name": f"{source}, {'accepted' if accepted else 'kept out'}",
                    "x": [_cut(e["predicted"]) for e in mine], "y": [_cut(e["realised"]) for e in mine],
                    "text": [e["decision"] for e in mine],
                    "marker": {"color": COLOURS.get(source, INK), "size": 8,
                               "symbol": "circle" if accepted else "circle-open"},
                    "hovertemplate": "%{text}: predicted %{x:.1%}, in hindsight %{y:.1%}<extra></extra>",
                })  # fmt: skip
    ends = [-1.05 * WIDEST, 1.05 * WIDEST]
    layout = frame(
        430,
        xaxis=axis("predicted gain over the incumbent", range=ends, tickformat=".0%"),
        yaxis=axis("gain in hindsight", range=ends, tickformat=".0%"),
        legend={"orientation": "v", "x": 1.02, "y": 1, "font": {"size": 12}},
    )
    return {"data": data, "layout": layout}


def _cut(gain: float) -> float:
    return max(-WIDEST, min(WIDEST, gain))
