"""Arrivals worked out on paper: how many prompts, when exactly, and what they amount to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edgewise.domain.model import Task
from edgewise.twin.demand import Demand
from evals.arrivals import Arrivals, arrivals
from evals.card import card
from evals.mix import mixes
from evals.scenario import (
    LoadTime,
    MeanService,
    ModelEntry,
    NodeEntry,
    PopularityShift,
    Scenario,
    SizedService,
    SyntheticEntry,
    TraceEntry,
    WorkloadEntry,
)
from evals.traces import ModelClass, TraceRow, write_trace

TEXT = ModelClass.TEXT_SMALL
SURE = MeanService(2.0, distribution="deterministic")


def model(name: str, service: MeanService | SizedService = SURE) -> ModelEntry:
    return ModelEntry(name, Task.TEXT_GENERATION, 1.0, LoadTime(5.0), service)


def scenario(
    models: Sequence[ModelEntry], workload: WorkloadEntry, duration_s: float, events: Sequence[PopularityShift] = ()
) -> Scenario:
    nodes = (NodeEntry("edge-1", 4.0), NodeEntry("edge-2", 4.0))
    return Scenario("paper", nodes, tuple(models), workload, duration_s, events=tuple(events))


def trace(path: Path, times_s: Sequence[float]) -> str:
    """Row i asks for i + 1 tokens, so that a prompt tells which row it is."""
    write_trace(path, [TraceRow(t, TEXT, "t", i + 1, 1) for i, t in enumerate(times_s)])
    return str(path)


def of_model(found: Arrivals, index: int) -> list[float]:
    return found.demand.at_s[found.demand.model == index].tolist()


def test_the_load_says_how_many_and_one_constant_says_when(tmp_path: Path) -> None:
    """Load 0.5 of 2 speeds is 1 s of work per second; at 2 s each 0.5 prompts/s, 4 in 8 s. Row 5 lands on the end."""
    file = trace(tmp_path / "t.csv", [10.0, 10.5, 12.0, 13.0, 14.0])
    workload = WorkloadEntry((TraceEntry(file, TEXT, "a", share=1.0),), target_load=0.5)
    for seed in range(3):  # only the first row leaves room for the window
        found = arrivals(scenario([model("a")], workload, 8.0), seed)
        assert found.demand.at_s.tolist() == [0.0, 1.0, 4.0, 6.0]
        assert found.input_tokens.tolist() == [1, 2, 3, 4]
        assert found.demand.service_s.tolist() == found.demand.hint_s.tolist() == [2.0] * 4


def test_rows_outside_start_and_until_are_not_there(tmp_path: Path) -> None:
    file = trace(tmp_path / "t.csv", [0.0, 10.0, 10.5, 12.0, 13.0, 14.0, 20.0])
    entry = TraceEntry(file, TEXT, "a", share=1.0, start_s=10.0, until_s=20.0)
    found = arrivals(scenario([model("a")], WorkloadEntry((entry,), target_load=0.5), 8.0), 7)
    assert found.demand.at_s.tolist() == [0.0, 1.0, 4.0, 6.0]
    assert found.input_tokens.tolist() == [2, 3, 4, 5]


def test_each_trace_has_its_share_and_clock_and_ties_keep_the_order_of_entries(tmp_path: Path) -> None:
    """1 s of work per second, shares 3 : 1, service 1 and 5: 1 / (0.75 + 1.25) = 0.5 prompts/s; 6 and 2 in 16 s."""
    first = trace(tmp_path / "a.csv", [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    second = trace(tmp_path / "b.csv", [0.0, 3.0, 4.0])
    models = [model("a", MeanService(1.0)), model("b", MeanService(5.0))]
    entries = (TraceEntry(second, TEXT, "b", share=0.25), TraceEntry(first, TEXT, "a", share=0.75))
    found = arrivals(scenario(models, WorkloadEntry(entries, target_load=0.5), 16.0), 1)
    assert of_model(found, 0) == pytest.approx([16 / 6 * i for i in range(6)])
    assert of_model(found, 1) == [0.0, 12.0]
    assert found.demand.model[:2].tolist() == [1, 0]  # both at 0: the first entry's comes first


def test_service_by_size_takes_its_mean_over_the_trace(tmp_path: Path) -> None:
    """Sizes 1 to 5 at 1 s per token are 3 s on average: at 1 s of work per second 4 prompts in 12 s."""
    file = trace(tmp_path / "t.csv", [0.0, 1.0, 2.0, 3.0, 4.0])
    workload = WorkloadEntry((TraceEntry(file, TEXT, "a", share=1.0),), target_load=0.5)
    found = arrivals(scenario([model("a", SizedService(0.0, per_input_token=1.0))], workload, 12.0), 1)
    assert found.demand.at_s.tolist() == [0.0, 3.0, 6.0, 9.0]
    assert found.demand.service_s.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_a_shift_keeps_the_load_and_each_trace_goes_on_from_its_place(tmp_path: Path) -> None:
    """Before: 1 / (0.5·1 + 0.5·3) = 0.5 prompts/s, 2 + 2 in 8 s. After, b alone at 3 s: 1/3 prompts/s, 4 in 12 s."""
    first, second = trace(tmp_path / "a.csv", [0.0, 2.0, 8.0]), trace(tmp_path / "b.csv", [0, 1, 4, 6, 7, 8, 10])
    models = [model("a", MeanService(1.0)), model("b", MeanService(3.0))]
    entries = (TraceEntry(first, TEXT, "a", share=0.5), TraceEntry(second, TEXT, "b", share=0.5))
    shift = PopularityShift(8.0, "popularity-shift", {"a": 0.0})
    s = scenario(models, WorkloadEntry(entries, target_load=0.5), 20.0, [shift])
    found = arrivals(s, 3)
    assert of_model(found, 0) == [0.0, 2.0]
    # b: 4 s of the trace in 8 s, then rows 3 to 6 and the one on the end, 6 s of it, in 12 s.
    assert of_model(found, 1) == [0.0, 2.0, 8.0, 12.0, 14.0, 16.0]
    assert [m.models for m in mixes(s)] == [{"a": 0.25, "b": 0.25}, {"a": 0.0, "b": pytest.approx(1 / 3)}]


def test_a_models_share_is_split_over_its_traces_in_proportion(tmp_path: Path) -> None:
    files = [trace(tmp_path / f"{name}.csv", [0.0, 1.0]) for name in "abc"]
    entries = tuple(
        TraceEntry(f, TEXT, m, share=s) for f, m, s in zip(files, ("a", "a", "b"), (0.3, 0.1, 0.6), strict=True)
    )
    shift = PopularityShift(500.0, "popularity-shift", {"a": 0.8, "b": 0.2})
    s = scenario([model("a"), model("b")], WorkloadEntry(entries, target_load=1.0), 1000.0, [shift])
    before, after = mixes(s)
    assert before.entries == pytest.approx((0.3, 0.1, 0.6))
    assert after.entries == pytest.approx((0.6, 0.2, 0.2))
    found = arrivals(s, 1)
    assert np.bincount(found.demand.model[found.demand.at_s < 500]).tolist() == [200, 300]
    assert np.bincount(found.demand.model[found.demand.at_s >= 500]).tolist() == [400, 100]


def test_a_trace_that_ends_starts_again_after_one_mean_gap(tmp_path: Path) -> None:
    file = trace(tmp_path / "t.csv", [0.0, 1.0, 2.0, 3.0])
    workload = WorkloadEntry((TraceEntry(file, TEXT, "a", share=1.0),), target_load=1.0)
    found = arrivals(scenario([model("a")], workload, 10.0), 5)
    assert found.demand.at_s.tolist() == [float(i) for i in range(10)]
    rows = found.input_tokens - 1
    assert (np.diff(rows) % 4 == 1).all()
    assert found.notes == ("a: t.csv has fewer prompts than the run needs, and starts again",)


def test_an_explicit_clock(tmp_path: Path) -> None:
    file = trace(tmp_path / "t.csv", [0.0, 2.0, 3.0, 8.0])
    workload = WorkloadEntry((TraceEntry(file, TEXT, "a", rate_scale=2.0),))
    assert arrivals(scenario([model("a")], workload, 4.0), 1).demand.at_s.tolist() == [0.0, 1.0, 1.5]


def test_deterministic_arrivals_at_a_load_and_with_a_shift() -> None:
    """Rates 1 : 3 at 2 s each. Load 1 of 2 speeds is 1 prompt/s: 0.25 and 0.75; after the shift b has all of it."""
    entries = (SyntheticEntry("a", 1.0, "deterministic"), SyntheticEntry("b", 3.0, "deterministic"))
    shift = PopularityShift(8.0, "popularity-shift", {"a": 0.0})
    workload = WorkloadEntry(synthetic=entries, target_load=1.0)
    found = arrivals(scenario([model("a"), model("b")], workload, 12.0, [shift]), 1)
    assert of_model(found, 0) == [0.0, 4.0]
    assert of_model(found, 1) == pytest.approx([0, 4 / 3, 8 / 3, 4, 16 / 3, 20 / 3, 8, 9, 10, 11])
    assert found.input_tokens.tolist() == [-1] * 12


def test_the_card_of_a_burst() -> None:
    """20 prompts of 30 s at one moment (600 s of work) and 5 more 60 s later, on 2 speeds, in 1200 s."""
    s = scenario([model("a", MeanService(30.0, distribution="deterministic"))], WorkloadEntry(), 1200.0)
    at_s = np.array([100.0] * 20 + [160.0] * 5)
    zeros, work_s = np.zeros(25, np.int64), np.full(25, 30.0)
    found = card(s, Arrivals(Demand(at_s, zeros, zeros, work_s, work_s), zeros, zeros, zeros, zeros, zeros, ()))
    assert found.realised_load == 750 / 2400
    assert found.peak_load_5min == 750 / 600
    # 300 s of the whole capacity at 100 s, 240 left at 160 s when 75 more come.
    assert found.largest_backlog_s == 315.0
    # At 160 s four have finished: 15 s each.
    assert found.largest_backlog_prompts == 21
    assert found.per_model["a"].work_share == 1.0
