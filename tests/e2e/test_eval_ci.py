"""The short evaluation with the real twin: policies keep the order they were measured in, and the report is sound."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest

from edgewise.compose.evaluate import EvalOptions, evaluate, guard_lines, passed
from evals.suite import ci


@pytest.mark.timeout(300)  # half a minute on two idle cores; compiling the kernels takes as long again
def test_the_guards_hold(tmp_path: Path) -> None:
    jobs = min(2, len(os.sched_getaffinity(0)))
    document = evaluate(EvalOptions(None, ci=True, out=tmp_path, jobs=jobs))
    assert document["valid"], document["invalid_because"]
    assert passed(document), "\n".join(guard_lines(document))
    assert len(document["guards"]) == len(ci.GUARDS)
    assert orjson.loads((tmp_path / "report.json").read_bytes())["seeds"] == [1, 2, 3]
    assert (tmp_path / "report.html").stat().st_size > 1_000_000
