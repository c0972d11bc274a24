"""Arrivals of any trace, load and shift: never thinned, in order, within the run, the same for the same seed."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.domain.model import Task
from evals.arrivals import arrivals
from evals.mix import mixes
from evals.scenario import (
    LoadTime,
    MeanService,
    ModelEntry,
    NodeEntry,
    PopularityShift,
    Scenario,
    SyntheticEntry,
    TraceEntry,
    WorkloadEntry,
)
from evals.traces import ModelClass, TraceRow, write_trace

NUMBERS = itertools.count()  # a file of its own each time: what is read of one is kept
TEXT = ModelClass.TEXT_SMALL
MODELS = tuple(
    ModelEntry(name, Task.TEXT_GENERATION, 1.0, LoadTime(5.0), MeanService(mean, cv))
    for name, mean, cv in (("a", 0.5, 0.3), ("b", 2.0, 1.0))
)
NODES = (NodeEntry("edge-1", 4.0, 1.5), NodeEntry("edge-2", 4.0, 0.5))
GAPS = st.lists(st.sampled_from((0.0, 0.0, 0.25, 1.0, 7.5)), min_size=1, max_size=30)
SYNTHETIC = st.builds(
    SyntheticEntry,
    model=st.sampled_from(("a", "b")),
    rate_per_s=st.floats(0.1, 3.0),
    process=st.sampled_from(("poisson", "mmpp", "deterministic")),
    burst_ratio=st.floats(1.0, 8.0),
    burst_s=st.floats(1.0, 50.0),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traces")


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.tuples(GAPS, GAPS),
    load=st.floats(0.05, 3.0),
    duration_s=st.floats(10.0, 300.0),
    shift=st.none() | st.tuples(st.floats(0.0, 0.95), st.floats(0.0, 5.0)),
    seed=st.integers(0, 1000),
)
def test_traces_are_warped_and_never_thinned(
    folder: Path,
    gaps: tuple[list[float], list[float]],
    load: float,
    duration_s: float,
    shift: tuple[float, float] | None,
    seed: int,
) -> None:
    entries, times = [], []
    for i, mine in enumerate(gaps):
        times.append(np.concatenate(((0.0,), np.cumsum(mine))))
        file = folder / f"{next(NUMBERS)}.csv"
        # Row i asks for i + 1 tokens, so that a prompt tells which row it is.
        write_trace(file, [TraceRow(t, TEXT, "t", j + 1, 1) for j, t in enumerate(times[-1].tolist())])
        entries.append(TraceEntry(str(file), TEXT, "ab"[i], share=0.25 + 0.5 * i))
    events = () if shift is None else (PopularityShift(shift[0] * duration_s, "popularity-shift", {"a": shift[1]}),)
    scenario = Scenario(
        "any", NODES, MODELS, WorkloadEntry(tuple(entries), target_load=load), duration_s, events=events
    )
    found = arrivals(scenario, seed)
    demand, stretches = found.demand, mixes(scenario)
    assert (np.diff(demand.at_s) >= 0).all()
    assert demand.at_s.size == 0 or 0 <= demand.at_s[0] <= demand.at_s[-1] < duration_s
    for i in range(2):
        at_s, rows = demand.at_s[demand.model == i], found.input_tokens[demand.model == i] - 1
        assert (np.diff(rows) % times[i].size == 1 % times[i].size).all()
        for mix in stretches:
            inside = (at_s >= mix.begin_s) & (at_s < mix.end_s)
            length = mix.end_s - mix.begin_s
            assert inside.sum() == round(mix.entries[i] * length)
    for mix in stretches:
        work = sum(rate * model.service_s.mean for rate, model in zip(mix.entries, MODELS, strict=True))
        assert work == pytest.approx(load * 2.0)


@settings(max_examples=60, deadline=None)
@given(entries=st.lists(SYNTHETIC, min_size=1, max_size=4), load=st.none() | st.floats(0.1, 2.0), seed=st.integers())
def test_generated_arrivals_are_ordered_inside_the_run_and_fixed_by_the_seed(
    entries: list[SyntheticEntry], load: float | None, seed: int
) -> None:
    scenario = Scenario("any", NODES, MODELS, WorkloadEntry(synthetic=tuple(entries), target_load=load), 200.0)
    one, same = arrivals(scenario, seed), arrivals(scenario, seed)
    at_s = one.demand.at_s
    assert (np.diff(at_s) >= 0).all()
    assert at_s.size == 0 or (at_s[0] >= 0 and at_s[-1] < 200.0)
    assert all(np.array_equal(a, b) for a, b in zip(one.demand, same.demand, strict=True))
    assert (one.demand.service_s > 0).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), factor=st.floats(0.2, 5.0), process=st.sampled_from(("poisson", "mmpp")))
def test_one_seed_is_one_pattern_and_each_model_has_its_own(seed: int, factor: float, process: str) -> None:
    entries = (SyntheticEntry("a", 1.0, process), SyntheticEntry("b", 0.5, process))  # type: ignore[arg-type]
    base = Scenario("any", NODES, MODELS, WorkloadEntry(synthetic=entries), 300.0)
    slower = replace(MODELS[1], service_s=MeanService(2.0 * factor, 0.1))
    other = replace(entries[1], rate_per_s=0.5 * factor)
    changed = replace(base, models=(MODELS[0], slower), workload=WorkloadEntry(synthetic=(entries[0], other)))
    one, two = arrivals(base, seed).demand, arrivals(changed, seed).demand
    for column in ("at_s", "service_s", "hint_s", "access"):
        mine = [getattr(d, column)[d.model == 0] for d in (one, two)]
        assert np.array_equal(*mine)
    # The i-th prompt of b comes earlier or later as the rate says; its place on the clock of arrivals is the same.
    if process == "poisson":
        b = [d.at_s[d.model == 1] for d in (one, two)]
        both = min(b[0].size, b[1].size)
        assert b[0][:both] == pytest.approx(b[1][:both] * factor)
