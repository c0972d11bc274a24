"""What is drawn for prompts: services, hints, access nodes, bursts; and what is read of a trace only once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.domain.errors import BadInput, UnknownNode
from edgewise.domain.model import Task
from evals import recorded as recorded_module
from evals.arrivals import arrivals
from evals.card import card, card_json, card_lines
from evals.draws import belief_factor
from evals.scenario import (
    Beliefs,
    Hints,
    LoadTime,
    MeanService,
    ModelEntry,
    NodeDown,
    NodeEntry,
    Scenario,
    Service,
    SizedService,
    SyntheticEntry,
    TraceEntry,
    WorkloadEntry,
)
from evals.scenario_world import to_world
from evals.traces import ModelClass, TraceRow, write_trace

TEXT = ModelClass.TEXT_SMALL
NODES = tuple(NodeEntry(f"edge-{i}", 4.0) for i in range(1, 5))


def model(name: str, service: Service) -> ModelEntry:
    return ModelEntry(name, Task.TEXT_GENERATION, 1.0, LoadTime(5.0), service)


def generated(service: Service, *entries: SyntheticEntry, duration_s: float = 20_000.0, **more: Any) -> Scenario:
    models = tuple(model(name, service) for name in dict.fromkeys(e.model for e in entries))
    return Scenario("s", NODES, models, WorkloadEntry(synthetic=entries), duration_s, **more)


def traced(file: Path, rows: Sequence[TraceRow], service: Service, **more: Any) -> Scenario:
    write_trace(file, rows)
    workload = WorkloadEntry((TraceEntry(str(file), TEXT, "a", share=1.0),), target_load=0.5)
    return Scenario("s", NODES, (model("a", service),), workload, 1000.0, **more)


def rows(count: int, **columns: Any) -> list[TraceRow]:
    return [TraceRow(float(i), TEXT, "t", 100, 50, **columns) for i in range(count)]


@pytest.mark.parametrize(
    ("service", "cv"),
    [
        (MeanService(2.0, 0.8), 0.8),
        (MeanService(2.0, 0.8, "exponential"), 1.0),
        (MeanService(2.0, 0.8, "deterministic"), 0.0),
        (MeanService(2.0, 0.0), 0.0),
    ],
)
def test_service_has_the_mean_and_the_spread_that_are_stated(service: MeanService, cv: float) -> None:
    drawn = arrivals(generated(service, SyntheticEntry("a", 5.0)), 1).demand.service_s
    assert drawn.size > 90_000
    assert drawn.mean() == pytest.approx(2.0, rel=0.02)
    assert drawn.std() / drawn.mean() == pytest.approx(cv, rel=0.03, abs=1e-12)


@pytest.mark.parametrize(("noise", "spread"), [(0.4, 0.4), (0.0, 0.0)])
def test_hints_are_the_size_with_noise_and_do_not_know_the_draw(tmp_path: Path, noise: float, spread: float) -> None:
    service = SizedService(0.0, per_input_token=0.001, per_output_token=0.01, cv=0.5)  # 0.6 s each
    scenario = traced(tmp_path / "t.csv", rows(5000), service, hints=Hints(noise))
    demand = arrivals(scenario, 1).demand
    assert demand.hint_s.mean() == pytest.approx(0.6, rel=0.05)
    assert np.log(demand.hint_s).std() == pytest.approx(spread, rel=0.05, abs=1e-9)
    if noise:
        assert abs(np.corrcoef(demand.hint_s, demand.service_s)[0, 1]) < 0.06
    louder = arrivals(replace(scenario, hints=Hints(1.0)), 1).demand
    assert np.array_equal(louder.service_s, demand.service_s)


def test_without_sizes_the_hint_is_the_mean_as_believed() -> None:
    scenario = generated(MeanService(2.0), SyntheticEntry("a", 0.1), SyntheticEntry("b", 0.1))
    off = replace(scenario, beliefs=Beliefs({"a": 1.5}))
    demand, believed = arrivals(scenario, 1).demand, arrivals(off, 1).demand
    assert set(demand.hint_s.tolist()) == {2.0}
    assert set(believed.hint_s[believed.model == 0].tolist()) == {3.0}
    assert set(believed.hint_s[believed.model == 1].tolist()) == {2.0}
    assert np.array_equal(demand.service_s, believed.service_s)


def test_beliefs_are_drawn_between_the_two_for_each_seed_and_model() -> None:
    base = generated(MeanService(2.0), SyntheticEntry("a", 0.1), SyntheticEntry("b", 0.1))
    scenario = replace(base, beliefs=Beliefs({}, (0.5, 2.0)))
    factors = np.log([[belief_factor(scenario, m, seed) for m in "ab"] for seed in range(300)])
    assert np.abs(factors).max() <= np.log(2.0)
    assert factors.mean(axis=0) == pytest.approx([0.0, 0.0], abs=0.08)
    assert abs(np.corrcoef(factors.T)[0, 1]) < 0.2
    stated = replace(scenario, beliefs=Beliefs({"a": 3.0}, (0.5, 2.0)))
    assert belief_factor(stated, "a", 1) == 3.0
    assert belief_factor(stated, "b", 1) == belief_factor(scenario, "b", 1)


def test_prompts_enter_by_the_shares() -> None:
    scenario = generated(MeanService(2.0), SyntheticEntry("a", 5.0))
    even = np.bincount(arrivals(scenario, 1).demand.access, minlength=4)
    assert even / even.sum() == pytest.approx([0.25] * 4, abs=0.01)
    workload = replace(scenario.workload, spatial={"edge-4": 3.0, "edge-2": 1.0})
    skewed = np.bincount(arrivals(replace(scenario, workload=workload), 1).demand.access, minlength=4)
    assert skewed / skewed.sum() == pytest.approx([0, 0.25, 0, 0.75], abs=0.01)


def test_who_asks_stays_at_one_node_and_the_trace_may_name_another(tmp_path: Path) -> None:
    found = [replace(row, extra_json=f'{{"client": {i % 20}}}') if i % 2 else row for i, row in enumerate(rows(2000))]
    found = [replace(row, access_node="edge-3") if i % 5 == 0 else row for i, row in enumerate(found)]
    result = arrivals(traced(tmp_path / "t.csv", found, MeanService(1.0)), 1)
    named = result.demand.access == 2
    for client in np.unique(result.client[result.client >= 0]):
        homes = set(result.demand.access[result.client == client].tolist())
        assert len(homes) == 1 or len(homes - {2}) == 1  # a fifth of the rows name edge-3 themselves
    assert len(np.unique(result.client[result.client >= 0])) == 10
    assert (result.client == -1).sum() == 1000
    assert named.sum() > 400
    again = arrivals(traced(tmp_path / "t.csv", found, MeanService(1.0)), 2)
    assert set(again.client.tolist()) == set(result.client.tolist())  # the same number in every run


def test_an_access_node_that_is_not_there_is_named_by_line(tmp_path: Path) -> None:
    found = rows(100)
    found[7] = replace(found[7], access_node="edge-9")
    with pytest.raises(UnknownNode) as caught:
        arrivals(traced(tmp_path / "t.csv", found, MeanService(1.0)), 1)
    assert caught.value.where == f"{tmp_path / 't.csv'}:9"
    assert "'edge-" in caught.value.hint


def test_rows_that_name_a_model_go_to_that_model_only(tmp_path: Path) -> None:
    found = [replace(row, model="a" if i % 2 else "other") for i, row in enumerate(rows(20))]
    scenario = traced(tmp_path / "t.csv", found, SizedService(1.0))
    assert recorded_module.recorded(scenario.workload.traces[0], scenario).at_s.tolist() == list(range(1, 20, 2))
    with pytest.raises(BadInput, match="no prompts for 'a' from 0 s on") as caught:
        arrivals(traced(tmp_path / "u.csv", [replace(r, model="other") for r in found], MeanService(1.0)), 1)
    assert caught.value.where == str(tmp_path / "u.csv")


def test_sizes_are_clipped_and_the_notes_say_so(tmp_path: Path) -> None:
    found = [TraceRow(float(i), TEXT, "t", 4000 if i % 2 else None, 50) for i in range(2000)]
    result = arrivals(traced(tmp_path / "t.csv", found, SizedService(1.0, per_input_token=0.001)), 1)
    assert set(result.input_tokens.tolist()) == {32, 974}  # 1024 in all, 50 of them out
    total = result.demand.at_s.size
    clipped = int((result.input_tokens == 974).sum())
    assert clipped in (total // 2, total - total // 2)
    assert result.notes == (
        f"a: {clipped} of {total} prompts of t.csv ask for more than it takes, and are clipped",
        f"a: {total - clipped} of {total} prompts of t.csv do not say how large they are: a usual size",
    )
    assert arrivals(traced(tmp_path / "t.csv", found, MeanService(1.5)), 1).notes == ()


def test_what_takes_no_time_is_refused(tmp_path: Path) -> None:
    scenario = traced(tmp_path / "t.csv", rows(10), SizedService(0.0, per_image=1.0))  # texts have no images
    with pytest.raises(BadInput, match="no time at all"):
        arrivals(scenario, 1)


def test_a_trace_is_parsed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = list[Path]()
    whole = recorded_module.iter_trace
    monkeypatch.setattr(recorded_module, "iter_trace", lambda path: (parsed.append(path), whole(path))[1])
    scenario = traced(tmp_path / "t.csv", rows(1000), SizedService(1.0, per_output_token=0.01))
    for seed in range(3):
        arrivals(scenario, seed)
        assert to_world(scenario).models[0].mean_service_s == pytest.approx(1.5)
    assert len(parsed) == 1
    longer = [replace(row, output_tokens=150) for row in rows(1000)]
    assert to_world(traced(tmp_path / "t.csv", longer, scenario.models[0].service_s)).models[0].mean_service_s == 2.5
    assert len(parsed) == 2


def test_a_trace_is_read_no_further_than_its_entries_need(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    scenario = traced(file, rows(100), SizedService(1.0))
    entry = scenario.workload.traces[0]
    parts = (replace(entry, until_s=20.0), replace(entry, start_s=30.0, until_s=50.0))
    scenario = replace(scenario, workload=replace(scenario.workload, traces=parts))
    with file.open("a") as more:
        more.write("99,nonsense\n")
    assert [recorded_module.recorded(part, scenario).at_s.size for part in parts] == [20, 20]
    with pytest.raises(BadInput) as caught:
        to_world(replace(scenario, workload=replace(scenario.workload, traces=(entry,))))
    assert caught.value.where == f"{file}:102"


def dispersion(scenario: Scenario, seed: int = 1) -> float:
    return card(scenario, arrivals(scenario, seed)).dispersion


def test_bursts_are_bursts_with_the_mean_rate_that_is_stated() -> None:
    service = MeanService(0.1)
    long = 200_000.0
    calm, wild = (
        generated(service, SyntheticEntry("a", 1.0, process, 6.0, 60.0), duration_s=long)  # type: ignore[arg-type]
        for process in ("poisson", "mmpp")
    )
    assert arrivals(wild, 1).demand.at_s.size == pytest.approx(long, rel=0.05)
    assert dispersion(calm) == pytest.approx(1.0, abs=0.06)
    assert dispersion(wild) > 8
    # Half of the prompts come in bursts, at 3.5 times the mean rate, in a seventh of the time.
    counts = np.bincount((arrivals(wild, 1).demand.at_s // 10).astype(np.int64))
    assert (counts > 25).sum() / counts.size == pytest.approx(1 / 7, abs=0.03)


def test_entries_of_one_group_burst_together() -> None:
    def correlation(group: str | None) -> float:
        entries = (SyntheticEntry(m, 2.0, "mmpp", 6.0, 60.0, group) for m in "ab")
        demand = arrivals(generated(MeanService(0.1), *entries, duration_s=50_000.0), 1).demand
        a, b = (np.bincount((demand.at_s[demand.model == i] // 30).astype(int), minlength=1700) for i in range(2))
        return float(np.corrcoef(a, b)[0, 1])

    assert correlation("all") > 0.8
    assert abs(correlation(None)) < 0.15


def test_a_card_can_be_read_and_written() -> None:
    events = (NodeDown(10.0, "node-down", "edge-2"),)
    scenario = generated(MeanService(2.0), SyntheticEntry("a", 1.0), SyntheticEntry("b", 0.5), events=events)
    found = card(scenario, arrivals(scenario, 1))
    assert found.realised_load == pytest.approx(0.75, rel=0.05)
    assert found.per_model["a"].share == pytest.approx(2 / 3, abs=0.02)
    assert found.per_model["a"].work_share == pytest.approx(2 / 3, abs=0.02)
    assert found.peak_load_5min > found.realised_load
    text = "\n".join(card_lines(found))
    assert "load 0.7" in text
    assert "edge-2 is down" in text
    assert card_json(found)["per_model"]["b"]["prompts"] == found.per_model["b"].prompts


def test_a_run_without_prompts_has_a_card() -> None:
    scenario = generated(MeanService(2.0), SyntheticEntry("a", 1e-9), duration_s=100.0)
    found = card(scenario, arrivals(scenario, 1))
    assert (found.prompts, found.realised_load, found.peak_load_5min, found.largest_backlog_s) == (0, 0.0, 0.0, 0.0)
    assert found.per_model["a"].work_share == 0.0
