"""One evaluation from grid to reports on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from evals.suite import report_html, report_json
from evals.suite.grid import Grid, code_digest
from evals.suite.runner import Job, Simulate, Told, run_all
from evals.suite.store import Store


class Evaluation:
    """The runs of one grid under `out`: runs/ holds the finished ones, report.json and report.html are written
    last."""

    def __init__(self, grid: Grid, out: Path, store: Store, simulate: Simulate) -> None:
        self._grid, self._out, self._store = grid, out, store
        self._code = code_digest()
        self.cells = grid.cells(self._code)
        self.missing: Sequence[Job] = tuple(
            Job(grid.scenario, c, simulate) for c in self.cells if store.get(c.key) is None
        )

    def run(self, workers: int, told: Told) -> dict[str, Any]:
        """Makes the runs that are missing and writes the reports; the report. Raises what a run raises, and
        RunFailed."""
        run_all(self.missing, self._store, workers, told)
        runs = {(c.policy, c.seed): run for c in self.cells if (run := self._store.get(c.key)) is not None}
        report = report_json.build(self._grid, runs, self._code)
        self._out.mkdir(parents=True, exist_ok=True)
        write_json(self._out / "report.json", report)
        write(self._out / "report.html", report_html.render(self._grid, report, runs).encode())
        return report


def write_json(file: Path, document: Any) -> None:
    write(file, orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")


def write(file: Path, content: bytes) -> None:
    """Whole or not at all."""
    part = file.with_name(f".{file.name}.part")
    part.write_bytes(content)
    part.replace(file)
