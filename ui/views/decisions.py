"""Decisions: when, by which rung, with what margin; and of one of them: why, against what, and what it changed."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from edgewise.domain.codec import to_plain
from edgewise.domain.errors import Refused
from serving.control_api.approvals import ApprovalList
from serving.control_api.schema import DecisionDetail, DecisionRow, RunState
from ui import approvals
from ui.api import ControlApi
from ui.figures import candidates_figure, hindsight_figure, timeline_figure
from ui.shell import api, show
from ui.words import (
    NONE,
    approval_line,
    candidate_cells,
    change_line,
    clock,
    decision_label,
    hindsight_lines,
    lift_line,
    llm_line,
    llm_totals,
    outcome,
    percent,
    plan_diff,
    realised_line,
    source_of,
)

PAGE = 100
PICK, SHOWN, TIMELINE = "picked-decision", "decisions-shown", "timeline"
NEWEST = ""
HEADS = {"new plan": "a new plan", "kept": "the plan in force stays"}
CHART = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"]}


Shown = tuple[list[DecisionRow], DecisionDetail | None, bool, ApprovalList]


def load(api: ControlApi) -> tuple[RunState, Shown]:
    """The decisions shown, newest first, the picked one, whether there are older ones, and approvals."""
    state = api.state()
    rows = api.decisions(PAGE)
    wanted = st.session_state.get(SHOWN, PAGE)
    more = len(rows) == PAGE
    while more and len(rows) < wanted:
        older = api.decisions(PAGE, before=rows[-1].id)
        rows += older
        more = len(older) == PAGE
    return state, (rows, _picked(api, rows), more, api.approvals())


def _picked(api: ControlApi, rows: list[DecisionRow]) -> DecisionDetail | None:
    if PICK not in st.session_state and (linked := st.query_params.get("decision")):
        st.session_state[PICK] = linked
    if wanted := st.session_state.get(PICK):
        try:
            return api.decision(wanted)
        except Refused:
            del st.session_state[PICK]  # a link to another run's decision, or another run behind the same API
    return api.decision(rows[0].id) if rows else None


def draw(state: RunState, data: Shown) -> None:
    rows, picked, more, asked = data
    approvals.draw(api(), asked)
    if picked is None:
        st.info("No decision has been made yet.", icon=":material/hourglass:")
        return
    st.subheader("Timeline", anchor=False)
    st.caption("one mark per decision: height is the margin, colour the rung; filled: a new plan, open: plan kept")
    st.plotly_chart(
        timeline_figure(rows, picked.decision.id),
        key=TIMELINE,
        config=CHART,
        on_select=_take_point,
        selection_mode="points",
        alt="Decisions over time",
    )
    _picker(rows, more)
    _headline(picked.decision)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        _candidates(picked.decision)
    with right:
        _changes(picked)
    _hindsight(rows, picked.decision)
    _rest(picked)
    _language_model(state, rows)


def _take_point() -> None:
    points = st.session_state[TIMELINE].selection.points
    if points and points[0].get("customdata"):
        custom = points[0]["customdata"]
        st.session_state[PICK] = custom if isinstance(custom, str) else custom[0]


def _picker(rows: list[DecisionRow], more: bool) -> None:
    labels = {r.id: decision_label(r) for r in rows}
    chosen = st.session_state.get(PICK, NEWEST)
    options = [NEWEST, *labels, *([chosen] if chosen not in labels and chosen != NEWEST else [])]
    left, right = st.columns([5, 1], vertical_alignment="bottom")
    left.selectbox(
        "Decision",
        options,
        key=PICK,
        format_func=lambda i: f"Newest: {decision_label(rows[0])}" if i == NEWEST else labels.get(i, i),
        help="Or click a mark of the timeline.",
    )
    if more and right.button("Load older", width="stretch"):
        st.session_state[SHOWN] = len(rows) + PAGE
        st.rerun(scope="fragment")


def _headline(row: DecisionRow) -> None:
    st.subheader(f"{row.id}: {HEADS[outcome(row)]}", anchor=False)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(f"rung {row.rung}", color="violet" if row.rung.startswith("llm") else "blue")
        st.badge(f"mode {row.mode.value}", color="blue" if row.mode.value == "active" else "orange")
        st.badge(f"trigger {row.trigger}", color="gray")
        st.caption(f"slot {row.slot} · epoch {row.epoch} · {clock(row.at_s)} since the start", width="content")
    st.markdown(f"**Why.** {row.reason or 'No reason was recorded.'}")
    if row.approval is not None:
        st.markdown(f"**Approval.** {approval_line(row.approval)}")
    cells = {
        "Chosen": source_of(row, row.chosen),
        "Runner-up": source_of(row, row.runner_up),
        "Margin": percent(row.margin),
        "Gain needed": percent(row.required),
    }
    for column, (label, text) in zip(st.columns(4), cells.items(), strict=True):
        column.metric(label, text, border=True)


def _candidates(row: DecisionRow) -> None:
    st.markdown("##### Candidates")
    if not row.candidates:
        st.caption("None were compared.")
        return
    st.plotly_chart(candidates_figure(row), key="candidates", config=CHART, alt="Candidates with intervals")
    number = st.column_config.NumberColumn(format="%.3f", width=70)
    st.dataframe(
        pd.DataFrame([candidate_cells(c, row) for c in row.candidates]),
        hide_index=True,
        column_config={
            "From": st.column_config.TextColumn(width=90),
            "Role": st.column_config.TextColumn(width=80),
            "Score": number,
            "Low": number,
            "High": number,
            "Plan": st.column_config.TextColumn(width=100),
            "Note": st.column_config.TextColumn(width="medium"),
        },
        key="candidate-table",
        placeholder="–",
        alt="Candidates",
    )


def _changes(picked: DecisionDetail) -> None:
    row = picked.decision
    st.markdown("##### Changes")
    if row.changes:
        st.code("\n".join(change_line(c) for c in row.changes), language=None, wrap_lines=True)
        st.caption("✓ done · … pending · ✕ refused · ○ skipped")
    else:
        st.caption("None: goal and fact agreed.")
    st.markdown("##### Plan against the one before")
    lines = plan_diff(picked.incumbent_plan, row.plan)
    if lines:
        st.code("\n".join(lines), language=None, wrap_lines=True, height=260 if len(lines) > 10 else "content")
    elif row.chosen == row.incumbent:
        st.caption(f"The plan in force stays: {row.chosen}.")
    else:
        st.caption("Same replicas, roles, routes and shares." if picked.incumbent_plan else "There was none before.")


def _hindsight(rows: list[DecisionRow], row: DecisionRow) -> None:
    """Predicted against realised gains of the decisions shown; those of the picked one in words."""
    figure = hindsight_figure(rows, row.id)
    if figure is None:
        return
    st.markdown("##### Hindsight")
    st.caption("gain over the incumbent, predicted against what the twin gives the plan on the prompts that came; "
               "filled: accepted, open: kept out; on the line the prediction came true")  # fmt: skip
    left, right = st.columns([3, 2], gap="medium")
    left.plotly_chart(figure, key="hindsight", config=CHART, alt="Predicted against realised gains")
    lines = hindsight_lines(row.realised)
    right.markdown("\n".join(f"- {line}" for line in lines) if lines else "Not known for this decision (yet).")


def _language_model(state: RunState, rows: list[DecisionRow]) -> None:
    """What it was worth and what it cost, over the decisions shown."""
    texts = llm_totals(rows)
    if not texts and not state.llm_rests:
        return
    st.subheader("Language model", anchor=False)
    if state.llm_rests:
        st.warning(f"It is not asked now, the optimiser decides: {state.llm_rests}.", icon=":material/bedtime:")
    if texts:
        first = min(r.slot for r in rows)
        st.caption(f"over the decisions shown, from slot {first} on; lift: mean gain over the optimiser's plan")
        for column, (label, text) in zip(st.columns(len(texts)), texts.items(), strict=True):
            column.metric(label, text, border=True)


def _rest(picked: DecisionDetail) -> None:
    row = picked.decision
    cells = {
        "Recalled cases": ", ".join(row.recalled) or "None.",
        "Language model": " ".join(filter(None, [llm_line(row.llm, row.llm_rests), lift_line(row)])),
        "What really happened": realised_line(row.realised),
        "Notes": "; ".join(row.notes) or NONE,
    }
    for column, (label, text) in zip(st.columns(4), cells.items(), strict=True):
        column.markdown(f"##### {label}")
        column.write(text)
    if row.plan is not None:
        with st.expander(f"Plan {row.plan.id} as JSON"):
            st.json(to_plain(row.plan), expanded=1)


show(load, draw)
