"""`edgewise eval SCENARIO --forecast`: the demand forecast on past demand, against plain methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from edgewise.domain.errors import BadInput
from evals.backtest.run import HALVES, backtest
from evals.scenario_file import load_scenario
from evals.suite.evaluation import write_json

SEEDS = 5
HEADINGS = {
    "wape": "WAPE", "mase": "MASE", "bias": "bias", "coverage80": "in 80 %", "coverage95": "in 95 %",
    "pinball": "pinball",
}  # fmt: skip


def run_backtest(scenario: str | None, seeds: int | None, out: Path | None) -> list[dict[str, Any]]:
    """One document for each scenario (a name or file, several with commas between); forecast.json under `out` when
    it is given. Raises BadInput for what is no scenario, and numbers that cannot be."""
    if scenario is None:
        raise BadInput("which scenario?", hint="edgewise eval paper7 --forecast")
    count = SEEDS if seeds is None else seeds
    if count < 1:
        raise BadInput(f"--seeds {count}: at least 1")
    names = [scenario] if Path(scenario).exists() else [part.strip() for part in scenario.split(",") if part.strip()]
    worlds = [load_scenario(name) for name in names]
    found = [backtest(world, range(world.seed, world.seed + count)) for world in worlds]
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "forecast.json", found)
    return found


def print_backtest(found: list[dict[str, Any]]) -> None:
    """For a person: a table for each scenario and level, the second half of the run, which nothing was fitted to."""
    console = Console(highlight=False)
    for document in found:
        ahead_s = document["ahead_slots"] * document["slot_s"]
        for level, words in (("models", "by model"), ("cells", "by access node and model")):
            table = Table(box=None, title=f"{document['scenario']}, {words}: mean rate of the next {ahead_s:g} s")
            table.add_column("")
            for heading in HEADINGS.values():
                table.add_column(heading, justify="right")
            for method, scores in document[level][HALVES[-1]].items():
                table.add_row(method, *("–" if scores[k] is None else f"{scores[k]:.3f}" for k in HEADINGS))
            console.print(table)
        for note in document["notes"]:
            console.print(f"note: {note}", markup=False, style="dim")
