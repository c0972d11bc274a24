"""The benchmark of the graphs runs, and their checkpoints stay small and bounded."""

from __future__ import annotations

from evals.bench_graph import bench


def test_checkpoints_are_small_and_old_ones_go() -> None:
    (row,) = bench(slots=30, kept=12)
    assert (row["name"], row["size"], row["threads_kept"]) == ("graph", "7x4", 12)
    assert row["checkpoint_max_kib"] <= 50
    assert row["checkpoint_kib"] <= 50
    assert row["file_kib"] <= row["bound_kib"] + 64  # an empty file has some pages, too
    assert row["slot_cpu_ms"] <= 60  # wall time is for the benchmark: a test shares its machine
    assert row["slot_ms"] > 0
