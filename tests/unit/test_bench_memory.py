"""The case memory's benchmark runs and says what it measured, at the size it says."""

from __future__ import annotations

import pytest

from edgewise.compose.bench import run_bench
from edgewise.domain.errors import BadInput
from evals.bench_memory import bench


def test_a_small_bench_has_the_keys() -> None:
    (row,) = bench(60)
    assert (row["name"], row["size"]) == ("memory", "60")
    assert 60 < row["stored"] <= 80
    assert 0 < row["recall_p50_ms"] <= row["recall_p95_ms"]
    assert row["recall_cpu_p95_ms"] > 0


@pytest.mark.parametrize(("kind", "cases"), [("twin", 10), ("memory", 0)])
def test_cases_are_a_matter_of_the_memory_alone(kind: str, cases: int) -> None:
    with pytest.raises(BadInput, match="--cases"):
        run_bench(kind, cases)
