"""report.html: one file that a person reads from the top, and that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evals.scenario import Scenario
from evals.scenario_file import to_yaml
from evals.suite import html, plots, plots_hindsight, plots_kinds, plots_time, tables
from evals.suite.grid import Grid
from evals.suite.paper import HEADINGS, LABEL, comparison
from evals.suite.reading import by_latency, choices
from evals.suite.report_json import Runs
from evals.suite.variants import PRODUCT

Report = Mapping[str, Any]
SECTIONS = (
    ("results", "Results"), ("kinds", "Kinds of prompts"), ("time", "Over time"), ("paper", "The paper"),
    ("hindsight", "Hindsight"), ("card", "Scenario"), ("all", "All figures"), ("read", "How to read"),
)  # fmt: skip
MOST_SHIFTS = 4  # drawn one by one
HOW_TO_READ = (
    "Every policy meets the same prompts on a seed; a seed draws where in the traces to start, and all else. "
    "Figures are means over seeds; intervals are at 95 % (Student's t; from ten seeds on, for bounded measures "
    "and p99, a bootstrap). Ratios are geometric means of the ratios by seed with Student's t on their "
    "logarithms: they are much narrower than the intervals of the means, since what a seed makes hard it makes "
    "hard for all. Each interval holds for itself. Of twenty comparisons that hold nothing one looks significant: "
    "trust the ones you meant to make, and those far from 1.",
    "Latency runs from arrival at the access node until the last byte is back there; the run goes on until it is "
    "empty. Slowdown of a model is its mean latency over that of a prompt alone on the fastest node. Fairness is "
    "Jain's index over 1/slowdown of the models, normalised so that 0 is one hog and 1 is all alike. In time: "
    "within the model's deadline. Churn: loads and unloads per node-hour. Adaptation: request-seconds in the "
    "system beyond the clairvoyant's, summed over the half hours after shifts.",
    "The lower bound is proven (see the docstring of evals/suite/bounds.py), and no policy can reach it: it lets "
    "every node hold every model that fits, with one queue for all. The clairvoyant is the product's planner "
    "given the true future.",
)


def render(grid: Grid, report: Report, runs: Runs) -> str:
    """The page of one scenario."""
    parts = [*_head(report), *_results(report), *_kinds(grid, report, runs), *_time(grid, report, runs)]
    return html.page(
        f"edgewise eval: {report['scenario']}",
        [*parts, *_paper(report), *_hindsight(report), *_details(grid.scenario, report)],
    )


def _head(report: Report) -> Iterator[str]:
    seeds, valid = report["seeds"], report["valid"]
    badge = '<span class="badge">valid</span>' if valid else '<span class="badge bad">not valid</span>'
    yield f"<h1>{html.text(report['scenario'])}</h1>"
    yield html.paragraph(
        html.Raw(
            f"{len(report['policies'])} policies on {len(seeds)} seeds ({seeds[0]} to {seeds[-1]}), in the digital "
            f"twin &nbsp; {badge} &nbsp; code {html.text(report['code'])}"
        ),
        "quiet",
    )
    words = "".join(html.paragraph(s) for s in report["verdict"])
    yield f'<div class="verdict{"" if valid else " bad"}">{words}</div>'
    shown = [(name, words) for name, words in SECTIONS if name != "hindsight" or report.get("hindsight")]
    yield "<nav>" + "".join(f'<a href="#{name}">{words}</a>' for name, words in shown) + "</nav>"


def _results(report: Report) -> Iterator[str]:
    yield '<h2 id="results">Results</h2>'
    yield html.figure("means", plots.means_bar(report))
    yield tables.overview(report)
    yield "<h3>Latency against fairness</h3>"
    yield html.paragraph("Up and to the left is better. The dashed line is the lower bound on mean latency.", "quiet")
    yield html.figure("fairness", plots.fairness(report))
    yield "<h3>Policies against each other</h3>"
    yield html.paragraph(
        "Row over column, paired by seed. Green: the row is better beyond its 95 % interval; red: worse; grey: not "
        "told apart.",
        "quiet",
    )
    for i, (metric, name) in enumerate(tables.COMPARED):
        inside = tables.ratios(report, metric)
        yield html.paragraph(html.Raw(f"<b>{name}</b>")) + inside if i == 0 else html.details(name, inside)


def _kinds(grid: Grid, report: Report, runs: Runs) -> Iterator[str]:
    seed = grid.seeds[0]
    names = choices(report)
    arrived = report["card"]["per_model"][0]
    models = sorted((m.id for m in grid.scenario.models), key=lambda m: -arrived[m]["prompts"])
    models = [m for m in models if arrived[m]["prompts"]]
    yield '<h2 id="kinds">Kinds of prompts</h2><h3>Latency by kind</h3>'
    yield html.paragraph(
        f"Part of the prompts answered within a time; seed {seed}. A click on a name hides it. Policies that are "
        "far behind leave the picture at its right.",
        "quiet",
    )
    yield html.figure("cdf", plots_kinds.distributions({p: runs[p, seed]["quantiles"] for p in names}, models, names))
    yield "<h3>Slowest hundredth of each kind</h3>"
    yield html.figure("p99", plots_kinds.by_kind(report, "p99_latency_s", "p99 latency, s (logarithmic)", log=True))
    yield "<h3>In time</h3>"
    yield html.figure(
        "attainment", plots_kinds.by_kind(report, "service_ratio", "finished within the deadline", log=False)
    )


def _time(grid: Grid, report: Report, runs: Runs) -> Iterator[str]:
    scenario, names, shifts = grid.scenario, choices(report), report["shifts"]
    lines = {p: _mean([runs[p, s]["in_system"] for s in grid.seeds]) for p in names}
    yield '<h2 id="time">Over time</h2><h3>Prompts in the system</h3>'
    yield html.paragraph(
        "Mean over seeds. Policies that are far behind leave the picture at its top. What is left at the end is "
        "still "
        "served, and counted.",
        "quiet",
    )
    yield html.figure("in-system", plots_time.in_system(lines, scenario.duration_s, shifts))
    if report["adaptation_detail"]:
        yield "<h3>Adaptation</h3>"
        yield html.paragraph(
            "Request-seconds in the system beyond the clairvoyant's, in the half hour after a shift.", "quiet"
        )
        yield tables.adaptation(report)
    for i, shift in enumerate(shifts[:MOST_SHIFTS]):
        yield f"<h3>Around: {html.text(shift['label'])}</h3>"
        yield html.figure(f"shift-{i}", plots_time.in_system(lines, scenario.duration_s, shifts, i))
    yield "<h3>What stood where</h3>"
    yield html.paragraph(f"Ready replicas, seed {grid.seeds[0]}. The menu chooses the policy.", "quiet")
    kept = {p: runs[p, grid.seeds[0]] for p in sorted(names, key=lambda p: p != PRODUCT)}  # the product comes first
    models = [m.id for m in scenario.models]
    if any(run["placement"] for run in kept.values()):
        drawn = {p: run["placement"] for p, run in kept.items()}
        nodes = [n.id for n in scenario.nodes]
        yield html.figure("placement", plots_time.placement_map(drawn, nodes, models, scenario.duration_s))
    else:
        drawn_counts = {p: run["ready"] for p, run in kept.items()}
        yield html.figure("replicas", plots_time.replica_counts(drawn_counts, models, scenario.duration_s))


def _paper(report: Report) -> Iterator[str]:
    yield '<h2 id="paper">The comparison of arXiv 2602.07215, repeated</h2>'
    yield html.paragraph(LABEL, "quiet")
    yield html.table(HEADINGS, comparison(report), kind="words")


def _hindsight(report: Report) -> Iterator[str]:
    """Whether gains came true that the gate was promised; nothing where no run kept a ledger."""
    for policy, seen in report.get("hindsight", {}).items():
        yield f'<h2 id="hindsight">Hindsight of {html.text(policy)}</h2>'
        yield html.paragraph(
            "Each decision that weighed another placement, run again from what was observed then on the prompts that "
            "really came. On the dashed line the predicted gain came true; below it, it was too high. Gains are cut "
            "to ±100 %. Decisions that follow each other share prompts, so the points are not independent.",
            "quiet",
        )
        yield html.figure(f"hindsight-{policy}", plots_hindsight.scatter(seen["lines"]))
        yield tables.hindsight(seen)


def _details(scenario: Scenario, report: Report) -> Iterator[str]:
    yield f'<h2 id="card">Scenario {html.text(scenario.name)}</h2>'
    yield html.paragraph(
        f"{len(scenario.nodes)} nodes, {len(scenario.models)} models, {scenario.duration_s / 60:g} minutes, "
        f"shedding {'on' if scenario.shedding else 'off'}."
    )
    yield tables.card(report) + tables.card_models(report)
    yield from (html.paragraph(f"Note: {note}.", "quiet") for note in report["notes"])
    yield html.details("The scenario as a file", f"<pre>{html.text(to_yaml(scenario))}</pre>")
    yield '<h2 id="all">All figures</h2>'
    yield tables.everything({p: report["policies"][p] for p in by_latency(report)})
    for model, inside in tables.per_model(report):
        yield html.details(model, inside)
    yield '<h2 id="read">How to read this</h2>'
    yield from (html.paragraph(words) for words in HOW_TO_READ)


def _mean(lines: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) / len(column) for column in zip(*lines, strict=True)]
