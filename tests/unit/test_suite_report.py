"""From finished runs to report.json and report.html."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import plotly.graph_objects as go
import pytest

from evals.scenario import PopularityShift, Scenario
from evals.suite import plots, plots_kinds, plots_time, report_html, report_json, sweep
from evals.suite.grid import Grid
from evals.suite.html import figure, table
from evals.suite.paper import HEADINGS, comparison
from evals.suite.runner import HERE, Job, run_all
from evals.suite.store import Store
from tests.support.fake_simulated import POLICIES, simulate
from tests.support.tiny_worlds import tiny_model, tiny_scenario

CHOSEN = ("random-static", "lew-lru", "edgewise", "clairvoyant")


def world() -> Scenario:
    models = [tiny_model("small", mean_s=0.5), tiny_model("large", mean_s=3.0)]
    return tiny_scenario((1.0, 1.5), models=models, duration_s=1200.0, rate_per_s=0.5)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Grid, report_json.Runs]:
    grid, store = Grid.of(world(), CHOSEN, 3), Store(tmp_path_factory.mktemp("suite"))
    cells = grid.cells("c")
    run_all([Job(grid.scenario, c, simulate) for c in cells], store, HERE, lambda _: None)
    return grid, {(c.policy, c.seed): run for c in cells if (run := store.get(c.key))}


@pytest.fixture
def report(made: tuple[Grid, report_json.Runs]) -> dict[str, Any]:
    return report_json.build(*made, "c")


def changed(runs: report_json.Runs, policy: str, **figures: Any) -> report_json.Runs:
    """The runs with figures of one policy replaced on every seed."""
    return {
        key: {**run, "figures": {**run["figures"], **figures}} if key[0] == policy else run
        for key, run in runs.items()
    }


def test_the_report_has_its_documented_shape(report: dict[str, Any]) -> None:
    assert report["scenario"] == "tiny"
    assert report["seeds"] == [1, 2, 3]
    latency = report["policies"]["edgewise"]["mean_latency_s"]
    assert set(latency) == {"mean", "ci95", "per_seed"}
    assert latency["ci95"][0] <= latency["mean"] <= latency["ci95"][1]
    assert len(latency["per_seed"]) == 3
    assert report["policies"]["edgewise"]["per_model"]["large"]["p99_latency_s"]["mean"] > 0
    assert 0 < report["bounds"]["lower_bound_mean_latency_s"] < latency["mean"]
    assert 0 < report["paired"]["edgewise/lew-lru"]["mean_latency_s"]["ratio"] < 1
    assert report["paired"]["random-static/lew-lru"]["churn"]["ratio"] is None
    assert report["valid"] is True
    assert report["adaptation"] == {}
    assert len(report["card"]["realised_load"]) == 3


def test_the_report_is_json_of_finite_numbers_and_the_same_each_time(
    made: tuple[Grid, report_json.Runs], report: dict[str, Any]
) -> None:
    grid, runs = made
    text = orjson.dumps(report)
    assert text == orjson.dumps(report_json.build(grid, dict(reversed(list(runs.items()))), "c"))
    assert not re.search(rb"NaN|Infinity", text)


def test_adaptation_is_said_when_there_are_shifts(tmp_path: Path) -> None:
    scenario = tiny_scenario((1.0, 1.5), duration_s=900.0, rate_per_s=1.5)
    shifted = Scenario(
        **{
            **{f: getattr(scenario, f) for f in scenario.__slots__},
            "events": (PopularityShift(300.0, "popularity-shift", {}),),
        }
    )
    grid, store = Grid.of(shifted, ("lew-lru", "clairvoyant"), 2), Store(tmp_path)
    runs: dict[tuple[str, int], Mapping[str, Any]] = {}
    plain = Grid.of(
        scenario, ("lew-lru", "clairvoyant"), 2
    )  # the tiny workload cannot shift: only windows matter here
    run_all([Job(scenario, c, simulate) for c in plain.cells("c")], store, HERE, lambda _: None)
    for cell in plain.cells("c"):
        runs[cell.policy, cell.seed] = {
            **(store.get(cell.key) or {}),
            "windows": [100.0 if cell.policy == "lew-lru" else 40.0],
        }
    found = report_json.build(grid, runs, "c")
    assert found["adaptation"] == {"lew-lru": 60.0, "clairvoyant": 0.0}
    assert any("request-seconds" in s for s in found["verdict"])
    assert 'id="shift-0"' in report_html.render(grid, found, runs)


def test_a_clairvoyant_that_is_beaten_makes_a_run_invalid(made: tuple[Grid, report_json.Runs]) -> None:
    grid, runs = made
    slow = dict(runs)
    for seed, factor in zip(grid.seeds, (3.0, 3.1, 3.2), strict=True):
        run = slow["clairvoyant", seed]
        mean = run["figures"]["mean_latency_s"] * factor
        slow["clairvoyant", seed] = {**run, "figures": {**run["figures"], "mean_latency_s": mean}}
    found = report_json.build(grid, slow, "c")
    assert not found["valid"]
    assert any("clairvoyant is worse than edgewise" in why for why in found["invalid_because"])
    assert found["verdict"][0].startswith("This run is not valid")
    assert 'class="badge bad"' in report_html.render(grid, found, slow)


@pytest.mark.parametrize(
    ("figures", "why"),
    [({"mean_latency_s": 1e-6}, "below the lower bound"), ({"prompts_lost": 2}, "lost 2 prompts on seed 1")],
)
def test_what_cannot_be_makes_a_run_invalid(
    made: tuple[Grid, report_json.Runs], figures: dict[str, Any], why: str
) -> None:
    grid, runs = made
    found = report_json.build(grid, changed(runs, "lew-lru", **figures), "c")
    assert not found["valid"]
    assert any("lew-lru" in reason and why in reason for reason in found["invalid_because"])


def test_the_verdict_names_the_best_the_limit_and_the_losses(report: dict[str, Any]) -> None:
    words = " ".join(report["verdict"])
    assert report["verdict"][0].startswith("edgewise has the lowest mean latency")
    assert "No policy can get below" in words
    assert "Against clairvoyant" in words
    assert "churn (random-static)" in words


def test_the_frontier_over_alpha_is_a_line_and_no_choice(made: tuple[Grid, report_json.Runs]) -> None:
    grid, runs = made
    variants = {"edgewise@0": 0.5, "edgewise@2": 1.2}
    more = dict(runs)
    for name, factor in variants.items():
        for seed in grid.seeds:
            run = runs["clairvoyant", seed]
            mean = run["figures"]["mean_latency_s"] * factor
            more[name, seed] = {**run, "figures": {**run["figures"], "mean_latency_s": mean}}
    found = report_json.build(Grid(grid.scenario, (*grid.policies, *variants), grid.seeds), more, "c")
    assert not [why for why in found["invalid_because"] if "clairvoyant" in why]  # other weights are other objectives
    assert not any("@" in s for s in found["verdict"] if "is not valid" not in s)
    lines = [d for d in plots.fairness(found)["data"] if "over α" in d["name"]]
    assert [d["text"] for d in lines] == [["α=0", "α=2"]]


def test_without_a_clairvoyant_the_report_says_what_it_lacks(made: tuple[Grid, report_json.Runs]) -> None:
    grid, runs = made
    found = report_json.build(Grid(grid.scenario, ("edgewise",), grid.seeds), runs, "c")
    assert any("clairvoyant was not run" in note for note in found["notes"])
    assert found["paired"] == {}


def test_the_page_stands_alone(made: tuple[Grid, report_json.Runs], report: dict[str, Any]) -> None:
    page = report_html.render(*made[:1], report, made[1])
    assert page.count("Plotly.newPlot(") >= 6
    ours = re.sub(
        r"<script>/\*\*.*?</script>", "", page, flags=re.DOTALL
    )  # plotly's own source, which names its home
    assert len(ours) < len(page) / 2
    assert not re.search(r"https?://|src=|<link", ours)
    for metric in report["policies"]["edgewise"]:
        assert metric == "per_model" or f"<td>{metric}</td>" in page
    assert "not stated" in page


def test_a_label_cannot_leave_its_script() -> None:
    spec = {"data": [{"name": "</script><b>"}], "layout": {"height": 10}}
    assert "</script><b>" not in figure("x", spec)
    assert "&lt;b&gt;" in table(["a"], [["<b>"]])


def test_plotly_knows_every_property_we_use(made: tuple[Grid, report_json.Runs], report: dict[str, Any]) -> None:
    grid, runs = made
    seed, names = grid.seeds[0], list(grid.policies)
    lines = {p: runs[p, seed]["in_system"] for p in names}
    shift = [{"label": "popularity shift", "from_s": 300.0, "until_s": 900.0}]
    specs = [
        plots.means_bar(report),
        plots.fairness(report),
        plots_kinds.distributions({p: runs[p, seed]["quantiles"] for p in names}, ["small", "large"], names),
        plots_kinds.by_kind(report, "p99_latency_s", "p99", log=True),
        plots_kinds.by_kind(report, "service_ratio", "in time", log=False),
        plots_time.in_system(lines, 1200.0, shift, 0),
        plots_time.placement_map(
            {p: runs[p, seed]["placement"] for p in names}, ["n-0", "n-1"], ["small", "large"], 1200.0
        ),
        plots_time.replica_counts({p: runs[p, seed]["ready"] for p in names}, ["small", "large"], 1200.0),
        plots.sweep({"edgewise": [(0.5, 2.0, 1.9, 2.1), (0.8, 3.0, 2.8, 3.2)]}, [(0.5, 1.0), (0.8, 1.2)]),
    ]
    for spec in specs:
        go.Figure(spec)  # raises ValueError for a property it does not know


def test_the_papers_table_says_nothing_it_does_not_know(report: dict[str, Any]) -> None:
    rows = comparison(report)
    assert all(len(row) == len(HEADINGS) for row in rows)
    assert rows[0][1:3] == ("about 74 s", "0.90, up from 0.51")
    assert rows[0][4] == "edgewise"
    by_name = {row[0]: row for row in rows}
    assert by_name["random"][4] == "random-static"
    assert by_name["hierarchical DRL"][1:5] == ("not stated", "not stated", "not stated", "not run")


def test_a_sweep_has_all_reports_and_draws_them_over_load(report: dict[str, Any]) -> None:
    heavier = {**report, "scenario": "heavier", "card": {**report["card"], "realised_load": [0.9, 0.95, 0.97]}}
    both = {"tiny": report, "heavier": heavier}
    assert sweep.summary(both) == {"scenarios": both, "valid": True}
    page = sweep.render(both)
    assert "Load sweep" in page
    assert 'href="heavier/report.html"' in page
    assert "Load sweep" not in sweep.render({"a": report, "b": report})


def test_every_policy_of_the_design_has_a_look() -> None:
    from evals.suite.looks import POLICIES as LOOKS

    assert set(POLICIES) <= set(LOOKS)
    assert len({(look.colour, look.dash) for look in LOOKS.values()}) == len(LOOKS)
