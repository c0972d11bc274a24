"""Figures, tables and words of the dashboard: what they show is what the state says."""

from __future__ import annotations

import re
from typing import Any

import pytest

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.decision import Hindsight, Mode, Replayed
from edgewise.domain.plan import ANY, Plan, ReplicaGoal, Role, Route, Share, Source
from edgewise.domain.records import PromptRow, PromptStatus
from serving.control_api.schema import (
    ChangeRow,
    DecisionRow,
    Fairness,
    LlmRow,
    ModelView,
    NodeView,
    RealisedRow,
    ReplicaView,
    RunState,
)
from tests.support.live_view import LiveView
from ui import words
from ui.figures import (
    candidates_figure,
    fairness_figure,
    hindsight_figure,
    latency_figure,
    timeline_figure,
    trail_figure,
)
from ui.palette import MODELS, STATES, model_colours
from ui.tables import age, model_rows, replica_map, totals

EMPTY = RunState(at_s=0.0, slot=0, epoch=0, mode=Mode.OFF)


@pytest.fixture
async def state() -> RunState:
    return await LiveView().state()


@pytest.fixture
async def row() -> DecisionRow:
    return (await LiveView().decisions(1))[0]


def prompt(model: str, arrived_s: float, finished_s: float | None, status: PromptStatus) -> PromptRow:
    return PromptRow("p", model, "e1", "e1", arrived_s, arrived_s, finished_s, status, None, 1, 10.0, 1.0)


def test_latency_shows_only_what_is_known(state: RunState) -> None:
    figure = latency_figure(state)
    assert [bar.name for bar in figure.data] == ["mean", "p95"]  # the live view knows no median
    assert list(figure.data[1].x) == [1.25, None]
    assert list(figure.data[1].text) == ["p95 1.25 s", ""]


def test_fairness_shows_models_with_prompts_in_their_own_colour(state: RunState) -> None:
    only_second = state.model_copy(update={"fairness": Fairness(x={"blip": 0.5})})
    bar = fairness_figure(only_second).data[0]
    assert list(bar.y) == ["blip"]
    assert list(bar.marker.color) == [MODELS[1]]


def test_empty_state_draws(state: RunState) -> None:
    for figure in (latency_figure(EMPTY), fairness_figure(EMPTY), trail_figure([], []), timeline_figure([])):
        assert figure.to_json()
    assert replica_map(EMPTY).count("<tr>") == 1
    assert model_rows(EMPTY) == []
    assert totals(EMPTY)["Completed"] == "0 / 0"
    assert totals(EMPTY)["Jain, raw"] == words.NONE


def test_totals_add_up(state: RunState) -> None:
    assert totals(state) == {
        "Completed": "1 / 4",
        "Waiting + queued": "3",
        "In flight": "1",
        "Jain, normalised": "0.800",
        "Jain, raw": "0.900",
        "Nodes alive": "1 / 2",
        "Oldest figure": "⚠ 21.0 s",
    }


def test_totals_of_a_stored_run_have_no_age() -> None:
    stored = RunState(at_s=1, slot=0, epoch=0, mode=Mode.OFF, nodes=[NodeView(node="n", alive=True)])
    assert "Oldest figure" not in totals(stored)


def cells(markup: str, node: str) -> list[str]:
    """The texts of one node's row, tags taken out."""
    found = next(r for r in re.findall(r"<tr>(.*?)</tr>", markup) if f"<b>{node}" in r)
    return [re.sub(r"<[^>]+>", " ", c).strip() for c in re.findall(r"<td[^>]*>(.*?)</td>", found)]


def test_map_says_each_state_by_symbol_and_word(state: RunState) -> None:
    markup = replica_map(state)
    assert cells(markup, "edge-1") == [
        "edge-1",
        "● ready 1 + 2 · 3.00 s",
        "◒ draining 0 + 0 · 2.00 s",
        "3.0 / 6.0",
        "0.40 s",
    ]
    assert cells(markup, "edge-2") == ["edge-2 ✕ down", "·", "◔ loading 0 + 0 · 1.00 s", "2.0 / 6.0", "⚠ 21.0 s"]
    for mark in (STATES[ReplicaState.READY], STATES[ReplicaState.DRAINING], STATES[ReplicaState.LOADING]):
        assert f"background:{mark.fill}" in markup


def test_map_escapes_names() -> None:
    evil = "<img src=x onerror=alert(1)>"
    node = NodeView(node=evil, alive=True, replicas=[ReplicaView(model=evil, state=ReplicaState.READY, since_s=0)])
    markup = replica_map(
        EMPTY.model_copy(update={"nodes": [node], "models": [ModelView(model=evil, arrivals=0, completed=0)]})
    )
    assert "<img" not in markup


def test_every_state_has_its_own_colour_and_symbol() -> None:
    assert set(STATES) == set(ReplicaState)
    assert len({m.symbol for m in STATES.values()}) == len({m.fill for m in STATES.values()}) == len(STATES)


def test_a_models_colour_depends_on_its_place_only() -> None:
    many = [f"m{i}" for i in range(20)]
    assert [model_colours(many)[m] for m in many[:3]] == list(model_colours(many[:3]).values())


def test_trail_has_one_dot_per_answered_prompt() -> None:
    rows = [
        prompt("a", 1.0, 3.0, PromptStatus.COMPLETED),
        prompt("a", 2.0, None, PromptStatus.PENDING),
        prompt("a", 2.0, 12.0, PromptStatus.SHED),
    ]
    (trace,) = trail_figure(rows, ["a", "b"]).data
    assert list(trace.y) == [2.0, 10.0]
    assert list(trace.marker.symbol) == ["circle", "x"]


def decision(**more: Any) -> DecisionRow:
    base = {"id": "d-1", "slot": 1, "epoch": 0, "at_s": 4.0, "rung": "optimiser", "mode": "active"}
    return DecisionRow.model_validate({**base, "incumbent": "p0", "chosen": "p1", **more})


def test_timeline_marks_rung_mode_outcome_and_the_picked_one() -> None:
    rows = [
        decision(id="d-3", rung="llm", mode="advisory", margin=0.2, accepted=True, required=0.03),
        decision(id="d-2", margin=None, accepted=False),
        decision(id="d-1", margin=0.05, accepted=True),
    ]
    by_name = {t.name: t for t in timeline_figure(rows, picked="d-2").data}
    assert list(by_name["optimiser"].customdata) == ["d-1", "d-2"]
    assert list(by_name["optimiser"].marker.symbol) == ["circle", "circle-open"]
    assert by_name["optimiser"].marker.size[1] > by_name["optimiser"].marker.size[0]
    assert list(by_name["optimiser"].y) == [5.0, None]
    assert list(by_name["llm"].marker.symbol) == ["diamond"]


def test_timeline_knows_rungs_it_was_not_told_of() -> None:
    assert [t.name for t in timeline_figure([decision(rung="oracle")]).data] == ["oracle"]


def test_candidates_show_their_interval_and_the_chosen_one(row: DecisionRow) -> None:
    first, second = candidates_figure(row).data
    assert first.text == ("1.80 ✓ chosen",)
    assert second.text == ("1.95",)
    assert first.error_x.array[0] == pytest.approx(0.1)
    assert second.error_x.arrayminus[0] == pytest.approx(0.15)


def test_source_of_names_the_candidate(row: DecisionRow) -> None:
    assert words.source_of(row, row.chosen) == "optimiser"
    assert words.source_of(row, "plan-77") == "plan-77"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0 ms"),
        (0.0994, "99 ms"),
        (0.0996, "0.10 s"),
        (9.994, "9.99 s"),
        (9.996, "10.0 s"),
        (250, "250 s"),
    ],
)
def test_seconds(value: float | None, text: str) -> None:
    assert words.seconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0:00"), (79.8, "1:19"), (3725, "1:02:05")])
def test_clock(value: float, text: str) -> None:
    assert words.clock(value) == text


def test_age_is_marked_when_stale() -> None:
    assert age(15.0) == "15.0 s"
    assert age(15.1).startswith("⚠")
    assert age(None) == "stored"


def test_change_lines() -> None:
    refused = ChangeRow(node="e2", model="blip", kind="load", status="refused", why="2.0 GiB do not fit")
    assert words.change_line(refused) == "✕ load blip on e2 — 2.0 GiB do not fit"
    assert words.change_line(ChangeRow(node="e1", kind="drain")) == "• drain on e1"


def test_llm_line() -> None:
    assert words.llm_line(LlmRow()) == "No language model was asked."
    used = LlmRow(calls=2, tokens=50, seconds=1.5, repairs=1, fallbacks=1, error="timed out")
    assert words.llm_line(used) == "2 calls · 50 tokens · 1.50 s · 1 repaired · 1 fallbacks · timed out"


def test_realised_line() -> None:
    assert "Not measured" in words.realised_line(None)
    done = RealisedRow(slots=2, completed=7, mean_latency_s=0.5, objective=1.9)
    assert words.realised_line(done) == "7 prompts in 2 slots · mean latency 0.50 s · objective 1.90"


def test_plan_diff_reads_as_lines() -> None:
    old = Plan(
        "a",
        Source.OPTIMISER,
        0,
        9,
        (ReplicaGoal("e1", "x"),),
        (Route(ANY, "x", "e1", 1.0),),
        (),
        (Role("e1", "text"),),
    )
    new = Plan(
        "b",
        Source.OPTIMISER,
        0,
        9,
        (ReplicaGoal("e2", "x"),),
        (Route(ANY, "x", "e2", 0.4), Route("e1", "x", "e2", 0.6)),
        (Share("e2", "x", 0.5),),
        (Role("e1", "spare"),),
    )
    assert words.plan_diff(old, new) == [
        "+ x on e2",
        "− x on e1",
        "role of e1: text → spare",
        "route x e1 → e2: none → 0.60",
        "route x → e1: 1.00 → none",
        "route x → e2: none → 0.40",
        "share of x on e2: none → 0.50",
    ]
    assert words.plan_diff(old, old) == []
    assert words.plan_diff(None, new) == []


def test_hindsight_is_drawn_once_it_is_known(row: DecisionRow) -> None:
    assert hindsight_figure([row], row.id) is None
    assert words.hindsight_lines(row.realised) == []
    plans = (
        Replayed("incumbent", "p-0", 3.0, 3.0, 0.0, 0.0),
        Replayed("optimiser", row.chosen, 2.0, 9.0, 0.5, -3.0),
        Replayed("llm", "p-2", 2.5, 2.0, 0.25, 0.5),
    )
    seen = RealisedRow(slots=2, completed=9, hindsight=Hindsight(60.0, 9, plans))
    known = row.model_copy(update={"realised": seen, "accepted": True})
    figure = hindsight_figure([known, row], known.id)
    assert figure is not None
    points = {trace.name: (list(trace.x), list(trace.y), list(trace.marker.symbol)) for trace in figure.data}
    assert points["optimiser"] == ([0.5], [-1.0], ["circle"])  # cut where the picture ends
    assert points["llm"] == ([0.25], [0.5], ["circle-open"])
    assert words.hindsight_lines(seen)[1] == "llm: predicted +25.0 %, in hindsight +50.0 %"
