"""`edgewise eval`: policies against the same prompts in the twin, then a report for people and one for programs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from edgewise.domain.errors import BadInput
from evals.scenario import Scenario
from evals.scenario_file import load_scenario
from evals.suite import ci, sweep
from evals.suite.evaluation import Evaluation, write, write_json
from evals.suite.grid import Cell, Grid, known_policies
from evals.suite.runner import Simulate
from evals.suite.store import Store
from evals.suite.variants import alphas
from evals.suite.words import overview

SEEDS = 5
# They need a language model, something announced, or runs to learn from.
NOT_BY_DEFAULT = frozenset({"edgewise-llm", "edgewise-unannounced", "edgewise-memory"})


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """scenario: a name or file, or several with commas between. policies: with commas between, None: all that need
    no language model. alphas: weights of fairness to run the product at as well. seeds, out, jobs None: the
    default. ci: the short run with its guards; scenario is then its own. hindsight: the product keeps its ledger."""

    scenario: str | None
    policies: str | None = None
    seeds: int | None = None
    alphas: str | None = None
    out: Path | None = None
    jobs: int | None = None
    ci: bool = False
    hindsight: bool = True


@dataclass(frozen=True, slots=True)
class Twin:
    """What an evaluation runs: the function and the policies it knows."""

    simulate: Simulate
    policies: tuple[str, ...]

    @staticmethod
    def real() -> Twin:
        from evals.simulate import POLICIES, simulate

        return Twin(simulate, tuple(POLICIES))


def evaluate(options: EvalOptions, twin: Twin | None = None) -> dict[str, Any]:
    """Runs what is asked and writes the reports; the document for stdout, with `valid`, and with `guards` under --ci.

    Raises BadInput for names that are not known and numbers that cannot be, RunFailed when a run breaks.
    """
    files = _scenario_files(options)
    scenarios = {_folder(file): load_scenario(file) for file in files}
    if len(scenarios) < len(files):
        raise BadInput("two of the scenarios have one name", where=str(options.scenario), hint="rename a file")
    twin = twin or Twin.real()
    out = options.out or Path("runs") / f"eval-{'-'.join(scenarios) if len(scenarios) < 3 else 'sweep'}"
    reports = _reports(options, twin, scenarios, out)
    document = next(iter(reports.values())) if len(reports) == 1 else sweep.summary(reports)
    if len(reports) > 1:
        write_json(out / "report.json", document)
        write(out / "report.html", sweep.render(reports).encode())
    if options.ci:
        document = document | {
            "guards": [h.guard._asdict() | {"ratio": h.ratio, "ok": h.ok} for h in ci.check(document)]
        }
    _say(out, reports)
    for line in guard_lines(document):
        Console(stderr=True, highlight=False).print(line, markup=False)
    return document


def passed(document: dict[str, Any]) -> bool:
    return bool(document["valid"]) and all(guard["ok"] for guard in document.get("guards", ()))


def _reports(
    options: EvalOptions, twin: Twin, scenarios: dict[str, Scenario], out: Path
) -> dict[str, dict[str, Any]]:  # fmt: skip
    jobs = options.jobs if options.jobs is not None else len(os.sched_getaffinity(0))
    if jobs < 1:
        raise BadInput(f"--jobs {jobs}: at least 1")
    wanted = ci.POLICIES if options.ci else twin.policies
    default = [p for p in wanted if p in twin.policies and p not in NOT_BY_DEFAULT]
    policies = (*known_policies(options.policies, twin.policies, default), *alphas(options.alphas))
    seeds = options.seeds if options.seeds is not None else ci.SEEDS if options.ci else SEEDS
    if not options.hindsight:
        # As settings are given: it is part of a run's key, and reaches the workers.
        os.environ["EDGEWISE_HINDSIGHT"] = "0"
    store = Store(out / "runs")
    grids = {name: Grid.of(scenario, policies, seeds) for name, scenario in scenarios.items()}
    store.prepare()
    reports = {}
    for name, grid in grids.items():
        evaluation = Evaluation(grid, out / name if len(grids) > 1 else out, store, twin.simulate)
        kept = len(evaluation.cells) - len(evaluation.missing)
        with _progress(name, len(evaluation.cells), kept) as told:
            reports[name] = evaluation.run(jobs, told)
    return reports


def _scenario_files(options: EvalOptions) -> list[str | Path]:
    if options.ci:
        if options.scenario is not None:
            raise BadInput("--ci brings its own scenario", hint="leave SCENARIO out")
        return [ci.SCENARIO]
    if options.scenario is None:
        raise BadInput("which scenario?", hint="edgewise eval paper7")
    if Path(options.scenario).exists():
        return [options.scenario]
    return [part.strip() for part in options.scenario.split(",") if part.strip()] or [options.scenario]


def _folder(file: str | Path) -> str:
    return Path(file).stem


@contextmanager
def _progress(name: str, runs: int, kept: int) -> Iterator[Callable[[Cell], None]]:
    """A bar on a terminal, else a line for each tenth; both on stderr. kept: runs that were there already."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        lines = _Lines(console, name, runs, kept)
        yield lines.told
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[last]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(name, total=runs, completed=kept, last="")
        yield lambda cell: bar.update(task, advance=1, last=str(cell))


class _Lines:
    """Progress for a file or a pipe."""

    def __init__(self, console: Console, name: str, runs: int, kept: int) -> None:
        self._console, self._name, self._runs, self._done, self._said = console, name, runs, kept, 0
        rest = f", {kept} of them kept from before" if kept else ""
        console.print(f"edgewise: {name}: {runs} runs{rest}", soft_wrap=True)

    def told(self, cell: Cell) -> None:
        self._done += 1
        tenth = 10 * self._done // self._runs
        if tenth > self._said:
            self._said = tenth
            self._console.print(
                f"edgewise: {self._name}: {self._done} of {self._runs} runs, last {cell}", soft_wrap=True
            )


def _say(out: Path, reports: dict[str, dict[str, Any]]) -> None:
    console = Console(stderr=True, highlight=False)
    for report in reports.values():
        console.print(overview(report))
        for sentence in report["verdict"]:
            console.print(sentence, markup=False)
        for note in report["notes"]:
            console.print(f"note: {note}", markup=False, style="dim")
    console.print(f"reports: {out / 'report.html'}, {out / 'report.json'}", soft_wrap=True)


def guard_lines(document: dict[str, Any]) -> Sequence[str]:
    """What the guards of --ci say, for people."""
    return [
        f"{'ok  ' if g['ok'] else 'FAIL'} {g['a']}/{g['b']} {g['metric']}: "
        f"{'none' if g['ratio'] is None else format(g['ratio'], '.3f')}, at most {g['most']:g}"
        for g in document.get("guards", ())
    ]
