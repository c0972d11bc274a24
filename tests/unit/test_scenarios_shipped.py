"""The shipped scenarios: whole, useful, and complete on a machine without recorded traces."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from evals import scenario as records
from evals.arrivals import arrivals
from evals.card import Card, card
from evals.mix import mixes
from evals.scenario import Scenario, SyntheticEntry, TraceEntry
from evals.scenario_file import SHIPPED, load_scenario, parse_scenario, to_yaml
from evals.scenario_world import believed_world, to_world
from evals.sources import notes, trace_source
from evals.traces import GENERATED, trace_folder

NAMES = sorted(p.stem for p in SHIPPED.glob("*.yaml"))
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "scenario.md"
RECORDED = trace_folder()
needs_traces = pytest.mark.skipif(RECORDED is None, reason="there is no folder of recorded traces")


@pytest.fixture
def no_traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWISE_TRACES", str(tmp_path))


def cards(scenario: Scenario, seeds: int) -> list[Card]:
    return [card(scenario, arrivals(scenario, seed)) for seed in range(seeds)]


def test_all_are_there() -> None:
    assert set(NAMES) == {
        "aligned-burst", "announced-flip", "city70", "known-sizes", "metro2000", "mm1", "node-loss", "paper7",
        "paper7-load050", "paper7-load080", "paper7-load095", "paper7-load120", "popularity-flip", "raw-day",
        "slow-node", "stale-telemetry", "tight-memory", "wrong-beliefs",
    }  # fmt: skip


@pytest.mark.usefixtures("no_traces")
@pytest.mark.parametrize("name", NAMES)
def test_each_is_found_by_name_and_written_as_it_is_read(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert scenario == load_scenario(SHIPPED / f"{name}.yaml")
    assert scenario == parse_scenario(to_yaml(scenario), Path("elsewhere.yaml"))
    assert scenario.duration_s >= 2 * scenario.slot_s * scenario.epoch_slots


@pytest.mark.usefixtures("no_traces")
@pytest.mark.parametrize("name", NAMES)
def test_each_runs_without_recorded_traces_and_says_so(name: str) -> None:
    scenario = load_scenario(name)
    found = card(scenario, arrivals(scenario, 1))
    assert {trace_source(t).file for t in scenario.workload.traces} <= {GENERATED}
    assert all(m.prompts > 0 for m in found.per_model.values())
    target = scenario.workload.target_load or 0.7
    assert found.realised_load == pytest.approx(target, rel=0.2)
    if scenario.workload.traces:
        assert {note for note in notes(scenario) if "generated" in note} <= set(found.notes)
        assert len(notes(scenario)) == len({t.file for t in scenario.workload.traces})
        assert any("starts again" in note for note in found.notes)


@pytest.mark.usefixtures("no_traces")
@pytest.mark.parametrize("name", [n for n in NAMES if n != "mm1"])
def test_memory_forces_choices_and_every_model_fits_somewhere(name: str) -> None:
    world = to_world(load_scenario(name))
    largest = max(n.memory_gib for n in world.nodes)
    assert sum(m.memory_gib for m in world.models) > largest
    # Everything can stand somewhere at the same time, or a static policy could never serve it.
    assert sum(m.memory_gib for m in world.models) < 0.5 * sum(n.memory_gib for n in world.nodes)


@needs_traces
@pytest.mark.parametrize("name", NAMES)
def test_no_scenario_is_all_overload_or_all_calm(name: str) -> None:
    """Five minutes far above capacity make all policies look alike; no queue at all makes them so too."""
    found = cards(load_scenario(name), 3)
    target = load_scenario(name).workload.target_load or 0.7
    peak, backlog = max(c.peak_load_5min for c in found), max(c.largest_backlog_s for c in found)
    if name in ("raw-day", "aligned-burst"):
        assert 1.2 < peak < 2.2
    else:
        assert peak < 1.5 * target
        assert backlog < 150 or target > 1
    assert backlog > (1 if name == "metro2000" else 7)


@needs_traces
@pytest.mark.parametrize("name", ["paper7", "popularity-flip"])
def test_the_load_is_what_it_says_on_average(name: str) -> None:
    scenario = load_scenario(name)
    loads = [c.realised_load for c in cards(scenario, 60)]
    assert np.mean(loads) == pytest.approx(scenario.workload.target_load, rel=0.01)


@needs_traces
def test_the_flip_swaps_the_heavy_models() -> None:
    scenario = load_scenario("popularity-flip")
    means = {m.id: m.mean_service_s for m in to_world(scenario).models}
    before, after = ({m: rate * means[m] for m, rate in mix.models.items()} for mix in mixes(scenario))
    assert before["gpt2-large"] > 4 * before["stable-diffusion"]
    assert after["stable-diffusion"] > 4 * after["gpt2-large"]
    assert sum(before.values()) == pytest.approx(sum(after.values()))


def test_variants_differ_from_paper7_in_what_they_are_about() -> None:
    paper = load_scenario("paper7")
    variants = {n: load_scenario(n) for n in NAMES if n not in ("city70", "metro2000")}
    changed = {
        name: {f.name for f in fields(Scenario) if getattr(variant, f.name) != getattr(paper, f.name)}
        for name, variant in variants.items()
    }
    assert changed["paper7-load080"] == {"name"}
    assert changed["paper7-load050"] == changed["paper7-load095"] == {"name", "workload"}
    assert changed["paper7-load120"] == {"name", "workload", "shedding"}
    assert changed["tight-memory"] == {"name", "nodes", "workload"}
    assert changed["known-sizes"] == {"name", "hints", "workload"}
    assert changed["wrong-beliefs"] == {"name", "beliefs"}
    assert changed["stale-telemetry"] == {"name", "events"}
    assert (
        changed["node-loss"] == changed["slow-node"] == changed["popularity-flip"] == {"name", "workload", "events"}
    )


def test_wrong_beliefs_are_wrong_in_both_directions() -> None:
    scenario = load_scenario("wrong-beliefs")
    true = to_world(scenario)
    ratios = [
        b.mean_service_s / t.mean_service_s
        for seed in range(10)
        for b, t in zip(believed_world(scenario, seed).models, true.models, strict=True)
    ]
    assert 0.6 <= min(ratios) < 0.75
    assert 1.3 < max(ratios) <= 1.6


def test_the_large_ones_are_large() -> None:
    city, metro = load_scenario("city70"), load_scenario("metro2000")
    assert (len(city.nodes), len(city.models)) == (70, 10)
    assert (len(metro.nodes), len(metro.models)) == (2000, 50)
    assert (SHIPPED / "metro2000.yaml").stat().st_size < 40_000


def test_the_page_of_the_format_has_every_key() -> None:
    text = PAGE.read_text(encoding="utf-8")
    classes = [
        value for value in vars(records).values() if isinstance(value, type) and hasattr(value, "__pydantic_config__")
    ]
    assert {Scenario, TraceEntry, SyntheticEntry} <= set(classes)
    missing = {f.name for found in classes for f in fields(found) if f"`{f.name}`" not in text}
    assert not missing


def test_mm1_has_the_mean_latency_that_is_known() -> None:
    """1 / (μ − λ) with μ = 1, λ = 0.7."""
    scenario, means = load_scenario("mm1"), []
    for seed in range(8):
        demand, free_s, total_s = arrivals(scenario, seed).demand, 0.0, 0.0
        for at_s, service_s in zip(demand.at_s.tolist(), demand.service_s.tolist(), strict=True):
            free_s = max(free_s, at_s) + service_s
            total_s += free_s - at_s
        means.append(total_s / demand.at_s.size)
    assert np.mean(means) == pytest.approx(1 / 0.3, rel=0.04)
