"""Now: how each kind of prompt fares, and what stands where."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from edgewise.domain.records import PromptRow
from serving.control_api.schema import RunState
from ui.api import ControlApi
from ui.figures import fairness_figure, latency_figure, trail_figure
from ui.shell import show
from ui.tables import model_rows, replica_map, totals
from ui.words import window

TRAIL = 600  # newest events looked at for the dots
CHART = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"]}
HELP = {
    "Completed": "Prompts answered / prompts arrived.",
    "Waiting + queued": "Held at the gateway because no replica is ready, plus queued at nodes.",
    "In flight": "Being served right now.",
    "Jain, normalised": "(J − 1/n)/(1 − 1/n) over x = 1 / slowdown: 1 is even, 0 is all for one.",
    "Jain, raw": "(Σx)²/(nΣx²) over x = 1 / slowdown of the models that had prompts.",
    "Nodes alive": "Nodes that answered when last asked.",
    "Oldest figure": "The age of the oldest figure on this page.",
}


def load(api: ControlApi) -> tuple[RunState, list[PromptRow]]:
    return api.state(), api.recent_prompts(TRAIL)


def draw(state: RunState, prompts: list[PromptRow]) -> None:
    texts = totals(state)
    for column, (label, text) in zip(st.columns(len(texts)), texts.items(), strict=True):
        column.metric(label, text, help=HELP[label], border=True)
    if not state.models and not state.nodes:
        st.info(
            "Nothing has happened yet: no prompt has arrived and no replica has changed.", icon=":material/hourglass:"
        )
        return
    _models(state)
    _nodes(state)
    st.subheader("Newest prompts", anchor=False)
    if prompts:
        figure = trail_figure(prompts, [m.model for m in state.models])
        st.plotly_chart(figure, key="trail", config=CHART, alt="Latency of the newest prompts over time")
    else:
        st.caption("No prompt has been answered yet.")


def _models(state: RunState) -> None:
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.subheader("Latency", anchor=False)
        st.caption(f"arrival to last byte back, per model, {window(state)}")
        st.plotly_chart(latency_figure(state), key="latency", config=CHART, alt="Latency per model")
    with right:
        st.subheader("Fairness", anchor=False)
        st.caption("x = 1 / slowdown, per model; even bars are a fair turn for every kind")
        if state.fairness.x:
            st.plotly_chart(fairness_figure(state), key="fairness", config=CHART, alt="Fairness per model")
        else:
            st.caption("Known once prompts have been answered.")
    frame = pd.DataFrame(model_rows(state))
    st.dataframe(
        frame, hide_index=True, column_config=_columns(state), key="models", placeholder="–", alt="Figures per model"
    )


def _columns(state: RunState) -> dict[str, ColumnConfig | None]:
    two = "%.2f"
    columns: dict[str, ColumnConfig | None] = {
        "Model": st.column_config.TextColumn(width=118, pinned=True),
        "Task": st.column_config.TextColumn(width=108),
        "x (fairness)": st.column_config.ProgressColumn(
            format=two, min_value=0.0, max_value=1.0, width=95, help="1 / slowdown."
        ),
        "Slowdown ×": st.column_config.NumberColumn(format=two, width=86, help="Mean latency / mean ideal latency."),
        "Deadline (s)": st.column_config.NumberColumn(format="%g", width=88),
        "Data age (s)": st.column_config.NumberColumn(format="%.1f", width=88),
    }
    for name in ("p50 (s)", "Mean (s)", "p95 (s)"):
        columns[name] = st.column_config.NumberColumn(format=two, width=70)
    for name in ("Arrived", "Completed", "Waiting", "Queued", "In flight", "Failed, shed", "Replicas"):
        columns[name] = st.column_config.NumberColumn(format="%d", width=84 if len(name) > 8 else 70)
    # A stored run's figures do not age; a live one's medians are not measured.
    for name, known in (("Data age (s)", "age_s"), ("p50 (s)", "p50_latency_s")):
        if all(getattr(m, known) is None for m in state.models):
            columns[name] = None
    return columns


def _nodes(state: RunState) -> None:
    st.subheader("Replicas", anchor=False)
    st.caption("nodes × models; the dead and the empty are shown too")
    # Hundreds of nodes scroll in a box of their own, below a dozen the table is as high as it is.
    with st.container(height=560 if len(state.nodes) > 12 else "content", border=False):
        st.html(replica_map(state))


show(load, draw)
