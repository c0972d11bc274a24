"""The workload: the stated load and work shares, exact windows, stable ids, and the same again for the same seed."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from edgewise.domain.cluster import NodeSpec
from edgewise.domain.errors import BadInput, UnknownModel, UnknownNode
from edgewise.domain.model import ModelSpec, ServiceProfile, Task
from edgewise.domain.world import World
from evals.bundle import Workload
from evals.prompts import DEMO_LIMITS
from evals.scenario_file import parse_scenario, to_yaml
from evals.scenario_world import from_world, workload_entry
from evals.spatial import Spatial
from evals.supply import class_of
from evals.traces import GENERATED, ModelClass, TraceRow, write_trace
from evals.workload import WORK_AFTER, WORK_BEFORE, default_workload, trace_workload

MODELS = (
    ModelSpec("gpt2", Task.TEXT_GENERATION, 1.0, 0.1),
    ModelSpec("gpt2-large", Task.TEXT_GENERATION, 3.5, 0.3),
    ModelSpec("blip", Task.IMAGE_TO_TEXT, 2.0, 0.1),
    ModelSpec("stable-diffusion", Task.TEXT_TO_IMAGE, 5.0, 0.3),
)
WORLD = World(tuple(NodeSpec(f"edge-{i}", 6.0) for i in range(1, 8)), MODELS)
PROFILES = {
    "gpt2": ServiceProfile(0.005, 2e-5, 0.0018),
    "gpt2-large": ServiceProfile(0.008, 1e-4, 0.0041),
    "blip": ServiceProfile(0.01, 0.0, 0.0022),
    "stable-diffusion": ServiceProfile(0.015, per_step_s=0.0115),
}


def work_by_model(workload: Workload, begin_s: float, end_s: float) -> dict[str, float]:
    work = dict.fromkeys((m.id for m in MODELS), 0.0)
    for row in workload.rows:
        if begin_s <= row.at_s < end_s:
            work[row.model] += PROFILES[row.model].expected_s(row.request.size)
    return work


@pytest.mark.parametrize(("cores", "load", "seed"), [(2.0, 0.6, 1), (1.5, 0.4, 2), (4.0, 0.3, 3)])
def test_load_and_work_shares_are_those_stated(cores: float, load: float, seed: int) -> None:
    workload = default_workload(WORLD, PROFILES, None, 60.0, cores, load, seed=seed)
    assert workload.shift_at_s == 30.0
    assert workload.realised_load == pytest.approx(load, rel=0.04)
    total_s = 0.0
    for begin, mix in ((0.0, WORK_BEFORE), (30.0, WORK_AFTER)):
        work = work_by_model(workload, begin, begin + 30.0)
        total_s += sum(work.values())
        for spec in MODELS:
            wanted_s = mix[class_of(spec)] * load * cores * 30.0
            largest_s = 0.45  # the dearest prompt: counts are whole
            assert work[spec.id] == pytest.approx(wanted_s, abs=largest_s)
    assert workload.realised_load == pytest.approx(total_s / (60.0 * cores))


def test_prompts_are_in_order_inside_the_window_and_numbered() -> None:
    workload = default_workload(WORLD, PROFILES, None, 40.0, 2.0, 0.5, seed=5)
    times = [row.at_s for row in workload.rows]
    assert times == sorted(times)
    assert times[0] == 0.0
    assert times[-1] < 40.0
    assert [row.id for row in workload.rows] == [f"p-{i:06d}" for i in range(1, len(times) + 1)]
    assert sum(sum(use.counts) for use in workload.uses) == len(times)
    for share, (begin, end) in zip(workload.shares, ((0.0, 20.0), (20.0, 40.0)), strict=True):
        rows = [row for row in workload.rows if begin <= row.at_s < end]
        assert share == {m.id: sum(r.model == m.id for r in rows) / len(rows) for m in MODELS}


def test_the_same_seed_gives_the_same_and_another_another() -> None:
    first, again, other = (default_workload(WORLD, PROFILES, None, 20.0, 2.0, 0.5, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first.rows != other.rows


def test_a_speedup_brings_more_prompts_and_no_shift_makes_one_stretch() -> None:
    usual = default_workload(WORLD, PROFILES, None, 30.0, 2.0, 0.2, shift=False)
    fast = default_workload(WORLD, PROFILES, None, 30.0, 2.0, 0.2, 2.0, shift=False)
    assert usual.shift_at_s is None
    assert len(usual.shares) == 1
    assert fast.realised_load == pytest.approx(2 * usual.realised_load, rel=0.1)


def test_a_rate_that_would_swamp_http_is_capped_and_said() -> None:
    cheap = {m.id: ServiceProfile(0.001) for m in MODELS}
    workload = default_workload(WORLD, cheap, None, 30.0, 2.0, 0.8, max_rate_per_s=10.0)
    assert 290 <= len(workload.rows) <= 300
    assert any("at most 10 prompts/s" in line for line in workload.description)
    assert workload.realised_load < 0.8


def test_the_description_says_what_it_is() -> None:
    workload = default_workload(WORLD, PROFILES, None, 30.0, 2.0, 0.5)
    text = "\n".join(workload.description)
    for model in MODELS:
        assert f"{model.id}: " in text
    assert text.count("generated prompts") == 4
    assert "clipped" in text
    assert "popularity shifts at 15 s" in text


def test_recorded_traces_are_used_where_they_are(tmp_path: Path) -> None:
    rows = [TraceRow(77.0 + i, ModelClass.TEXT_SMALL, "rec", 4000, 10) for i in range(400)]
    write_trace(tmp_path / "azure2023-code.csv.gz", rows)
    workload = default_workload(WORLD, PROFILES, tmp_path, 30.0, 2.0, 0.5)
    files = {use.model: use.file for use in workload.uses}
    assert files.pop("gpt2") == tmp_path / "azure2023-code.csv.gz"
    assert set(files.values()) == {GENERATED}
    mine = [row for row in workload.rows if row.model == "gpt2"]
    assert mine
    assert all(
        row.request.clipped and row.request.size.input_tokens == DEMO_LIMITS.context_tokens - 10 for row in mine
    )


def test_a_catalogue_of_one_gets_all_the_work() -> None:
    world = World(WORLD.nodes[:1], MODELS[2:3])
    workload = default_workload(world, PROFILES, None, 20.0, 1.0, 0.5)
    assert {row.model for row in workload.rows} == {"blip"}
    assert {row.access_node for row in workload.rows} == {"edge-1"}
    assert workload.realised_load == pytest.approx(0.5, rel=0.05)


def test_a_workload_is_written_down_as_a_scenario() -> None:
    workload = default_workload(WORLD, PROFILES, None, 20.0, 2.0, 0.5)
    entry, events = workload_entry(workload)
    scenario = from_world(
        WORLD, name="demo", duration_s=20.0, slot_s=4.0, epoch_slots=5, workload=entry, events=events
    )
    assert parse_scenario(to_yaml(scenario), Path("runs/x/scenario.yaml")) == scenario
    assert scenario.workload.target_load == workload.realised_load
    assert events[0].shares == workload.shares[1]


def trace(tmp_path: Path, *rows: TraceRow) -> Path:
    path = tmp_path / "mine.csv"
    write_trace(path, rows)
    return path


def test_an_explicit_trace_is_played_from_its_first_row_by_its_clock(tmp_path: Path) -> None:
    path = trace(
        tmp_path,
        TraceRow(100.0, ModelClass.TEXT_SMALL, "t", 5, 5, access_node="edge-3"),
        TraceRow(110.0, ModelClass.IMAGE_CAPTION, "t", 5, 5, 1),
        TraceRow(130.0, ModelClass.TEXT_SMALL, "t", 5, 5, model="gpt2-large"),
    )
    workload = trace_workload(path, WORLD, PROFILES, 4.0, 2.0, 0.5, speedup=10.0)
    # Rows at 0, 1 and 3 s; the next round starts one mean gap (1.5 s) after the last: outside.
    assert [(row.at_s, row.model) for row in workload.rows] == [(0.0, "gpt2"), (1.0, "blip"), (3.0, "gpt2-large")]
    assert workload.rows[0].access_node == "edge-3"
    (shares,) = workload.shares
    assert shares == pytest.approx(dict.fromkeys(("gpt2", "gpt2-large", "blip"), 1 / 3))


def test_a_trace_on_a_racing_clock_is_one_burst_and_costs_no_more_than_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_trace(path, [TraceRow(float(i), ModelClass.TEXT_SMALL, "x", 5, 5) for i in range(1000)])
    tracemalloc.start()
    workload = trace_workload(path, WORLD, PROFILES, 100.0, 2.0, 0.5, speedup=1e6)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(workload.rows) == 1000
    assert peak < 50 * 2**20


def test_more_prompts_than_fit_in_memory_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("evals.workload.MAX_PROMPTS", 10)
    with pytest.raises(BadInput, match="more than 10 prompts"):
        default_workload(WORLD, PROFILES, None, 60.0, 2.0, 0.5)
    path = tmp_path / "t.csv"
    write_trace(path, [TraceRow(float(i), ModelClass.TEXT_SMALL, "x", 5, 5) for i in range(3)])
    with pytest.raises(BadInput, match="more than 10 prompts"):
        trace_workload(path, WORLD, PROFILES, 60.0, 2.0, 0.5)


def test_without_a_speedup_an_explicit_trace_is_warped_to_the_load() -> None:
    workload = trace_workload(GENERATED, WORLD, PROFILES, 60.0, 2.0, 0.5)
    assert workload.realised_load == pytest.approx(0.5, rel=0.01)
    assert {row.model for row in workload.rows} == {m.id for m in MODELS}
    assert all(0 <= row.at_s < 60.0 for row in workload.rows)


def test_what_a_trace_asks_for_must_exist(tmp_path: Path) -> None:
    good = TraceRow(0.0, ModelClass.TEXT_SMALL, "t", 5, 5)
    path = trace(tmp_path, good, TraceRow(1.0, ModelClass.TEXT_SMALL, "t", 5, 5, model="gtp2"))
    with pytest.raises(UnknownModel) as caught:
        trace_workload(path, WORLD, PROFILES, 4.0, 2.0, 0.5)
    assert caught.value.where == f"{path}:3"
    assert caught.value.hint == "did you mean 'gpt2'?"

    small = World(WORLD.nodes, MODELS[:1])
    path = trace(tmp_path, good, TraceRow(1.0, ModelClass.IMAGE_CAPTION, "t", 5, 5, 1))
    with pytest.raises(UnknownModel, match="model_class image-caption: model 'blip'"):
        trace_workload(path, small, PROFILES, 4.0, 2.0, 0.5)

    path = trace(tmp_path, good, TraceRow(1.0, ModelClass.TEXT_SMALL, "t", 5, 5, access_node="edge-77"))
    with pytest.raises(UnknownNode) as nodes:
        trace_workload(path, WORLD, PROFILES, 4.0, 2.0, 0.5)
    assert nodes.value.where == f"{path}:3"

    path.write_text(path.read_text() + "not,a,row\n")
    with pytest.raises(BadInput) as rows:
        trace_workload(path, WORLD, PROFILES, 0.001, 2.0, 0.5)
    assert rows.value.where == f"{path}:4"


def test_prompts_of_one_client_enter_at_one_node() -> None:
    spatial = Spatial.of({"a": 1.0, "b": 1.0, "c": 2.0})
    rows = [TraceRow(float(i), ModelClass.TEXT_SMALL, "t", extra_json='{"client":7}', line=i) for i in range(20)]
    assert len({spatial.node_for(row, 1) for row in rows}) == 1
    # Others spread by share; over clients the sticky ones do too.
    free = Counter(spatial.node_for(TraceRow(float(i), ModelClass.TEXT_SMALL, "t", line=i), 1) for i in range(4000))
    assert free["c"] / 4000 == pytest.approx(0.5, abs=0.04)
    assert free["a"] / 4000 == pytest.approx(0.25, abs=0.04)
    assert len({spatial.node_for(rows[0], seed) for seed in range(30)}) == 3


@pytest.mark.parametrize("shares", [{"a": 0.0}, {"a": -1.0, "b": 2.0}])
def test_shares_of_access_nodes_must_make_sense(shares: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        Spatial.of(shares)


def test_numbers_that_make_no_workload() -> None:
    for duration, cores, load, speedup in ((0.0, 2.0, 0.5, None), (10.0, 0.0, 0.5, None), (10.0, 2.0, 0.5, -1.0)):
        with pytest.raises(BadInput):
            default_workload(WORLD, PROFILES, None, duration, cores, load, speedup, limits=DEMO_LIMITS)
