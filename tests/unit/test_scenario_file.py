"""Scenario files: what is right is read whole, what is wrong is named by line with the nearest right thing."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgewise.domain.errors import BadInput
from edgewise.domain.model import PromptSize, Task
from evals.scenario import MeanService, NodeSlow, PopularityShift, SizedService, model_of
from evals.scenario_file import SHIPPED, load_scenario, parse_scenario, to_yaml
from evals.scenario_world import from_world, notes, to_world, trace_source
from evals.traces import GENERATED, ModelClass, TraceRow, write_trace

HERE = Path("s.yaml")
SYNTHETIC = """\
name: tiny
duration_s: 600
nodes:
  - {id: edge-1, memory_gib: 4, speed: 2.0, power_w: {idle: 60, busy: 250}}
  - {id: edge-2, memory_gib: 2}
links: {default: {latency_ms: 5}, pairs: [{a: edge-1, b: edge-2, latency_ms: 12, bandwidth_mbps: 200}]}
models:
  - id: gpt2
    task: text-generation
    memory_gib: 1.0
    load_s: {mean: 12, cv: 0.3}
    service_s: {mean: 2.0, cv: 0.4, distribution: exponential}
    service: ps
initial: {edge-1: [gpt2]}
workload:
  synthetic: [{model: gpt2, process: mmpp, rate_per_s: 0.5, burst_ratio: 3, burst_s: 20}]
  spatial: {edge-1: 0.2, edge-2: 0.8}
events:
  - {at_s: 10, kind: node-down, node: edge-2}
  - {at_s: 20, kind: node-up, node: edge-2}
  - {at_s: 30, kind: node-slow, node: edge-1, factor: 8}
  - {at_s: 40, kind: telemetry-stale, for_s: 30}
"""
TRACED = """\
name: traced
duration_s: 600
nodes:
  - {id: edge-1, memory_gib: 4}
models:
  - id: gpt2
    task: text-generation
    memory_gib: 1.0
    load_s: {mean: 12}
    service_s: {base: 0.5, per_input_token: 0.01, per_output_token: 0.1}
  - id: blip
    task: image-to-text
    memory_gib: 2.0
    load_s: {mean: 12}
    service_s: {mean: 1.0}
workload:
  traces:
    - {file: t.csv, model_class: text-small, share: 0.7}
    - {file: t.csv, model_class: image-caption, share: 0.3}
  target_load: 0.8
events:
  - {at_s: 300, kind: popularity-shift, shares: {blip: 0.9}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a trace of four prompts beside the scenario."""
    monkeypatch.setenv("EDGEWISE_TRACES", str(tmp_path / "traces"))
    (tmp_path / "traces").mkdir()
    texts = [TraceRow(float(i), ModelClass.TEXT_SMALL, "t", 100 * (i + 1), 10 * (i + 1)) for i in range(2)]
    images = [TraceRow(float(i), ModelClass.IMAGE_CAPTION, "t", 5, 5, 1) for i in range(2, 4)]
    write_trace(tmp_path / "t.csv", [*texts, *images])
    return tmp_path


def refusal(text: str, path: Path = HERE) -> BadInput:
    with pytest.raises(BadInput) as caught:
        parse_scenario(text, path)
    return caught.value


def line_of(text: str, part: str) -> int:
    return next(i for i, line in enumerate(text.splitlines(), 1) if part in line)


def test_every_key_is_read() -> None:
    s = parse_scenario(SYNTHETIC, HERE)
    assert (s.name, s.seed, s.slot_s, s.epoch_slots, s.duration_s, s.shedding) == ("tiny", 1, 30.0, 10, 600.0, False)
    assert s.model("gpt2").service_s == MeanService(2.0, 0.4, "exponential")
    assert (s.discipline("gpt2"), s.service) == ("ps", "fifo")
    assert s.workload.synthetic[0].process == "mmpp"
    assert s.workload.spatial == {"edge-1": 0.2, "edge-2": 0.8}
    assert s.initial == {"edge-1": ("gpt2",)}
    assert [e.kind for e in s.events] == ["node-down", "node-up", "node-slow", "telemetry-stale"]
    assert s.events[2] == NodeSlow(30.0, "node-slow", "edge-1", 8.0)


def test_the_world_of_a_scenario() -> None:
    world = to_world(parse_scenario(SYNTHETIC, HERE))
    assert [(n.id, n.memory_gib, n.speed, n.busy_w) for n in world.nodes] == [
        ("edge-1", 4.0, 2.0, 250.0),
        ("edge-2", 2.0, 1.0, 0.0),
    ]
    assert world.network.between("edge-2", "edge-1").latency_ms == 12.0
    gpt2 = world.model("gpt2")
    assert (gpt2.task, gpt2.mean_service_s, gpt2.service_cv, gpt2.load_s, gpt2.load_cv) == (
        Task.TEXT_GENERATION,
        2.0,
        0.4,
        12.0,
        0.3,
    )


def test_service_by_size_takes_its_mean_from_the_trace(folder: Path) -> None:
    scenario = parse_scenario(TRACED, folder / "s.yaml")
    assert scenario.workload.traces[0].file == str(folder / "t.csv")
    assert scenario.events == (PopularityShift(300.0, "popularity-shift", {"blip": 0.9}),)
    gpt2 = to_world(scenario).model("gpt2")
    # Sizes (100, 10) and (200, 20): 0.5 + 1 + 1 and 0.5 + 2 + 2.
    assert gpt2.mean_service_s == pytest.approx(3.5)
    assert gpt2.expected_service_s(PromptSize(50, 5)) == pytest.approx(1.5)


@pytest.mark.parametrize("text", [SYNTHETIC, TRACED])
def test_what_is_written_is_read_back(folder: Path, text: str) -> None:
    first = parse_scenario(text, folder / "s.yaml")
    elsewhere = folder / "runs" / "x" / "scenario.yaml"
    assert parse_scenario(to_yaml(first), elsewhere) == first


@pytest.mark.parametrize("name", sorted(p.stem for p in SHIPPED.glob("*.yaml")))
def test_shipped_scenarios_are_found_by_name_and_need_no_traces(name: str, folder: Path) -> None:
    scenario = load_scenario(name)
    assert scenario == load_scenario(SHIPPED / f"{name}.yaml") == parse_scenario(to_yaml(scenario), HERE)
    assert all("generated" in note for note in notes(scenario))
    assert len(notes(scenario)) == len(scenario.workload.traces)
    assert {trace_source(t).file for t in scenario.workload.traces} == {GENERATED}
    world = to_world(scenario)
    largest = max(n.memory_gib for n in world.nodes)
    assert sum(m.memory_gib for m in world.models) > largest  # memory must force a choice
    assert {model_of(t) for t in scenario.workload.traces} == {m.id for m in world.models}


def test_recorded_traces_are_taken_from_the_folder_when_there(folder: Path) -> None:
    name = load_scenario("paper7").workload.traces[0].file
    write_trace(folder / "traces" / name, [TraceRow(0.0, ModelClass.TEXT_SMALL, "t", 1, 1)])
    assert trace_source(load_scenario("paper7").workload.traces[0]) == (folder / "traces" / name, 0.0, "")


def test_a_run_is_written_down_as_a_scenario() -> None:
    first = parse_scenario(SYNTHETIC, HERE)
    again = from_world(
        to_world(first),
        name=first.name,
        duration_s=first.duration_s,
        slot_s=first.slot_s,
        epoch_slots=first.epoch_slots,
        workload=first.workload,
        initial=first.initial,
        events=first.events,
    )
    assert to_world(again) == to_world(first)
    assert parse_scenario(to_yaml(again), HERE) == again


@pytest.mark.parametrize(
    ("old", "new", "at", "says", "hint"),
    [
        ("duration_s: 600", "duration: 600", "duration: 600", "unknown key 'duration'", "duration_s"),
        ("speed: 2.0", "sped: 2.0", "sped", "unknown key 'sped'", "'speed'"),
        ("idle: 60", "idel: 60", "idel", "unknown key 'idel'", "'idle'"),
        ("bandwidth_mbps", "bandwith_mbps", "bandwith", "unknown key 'bandwith_mbps'", "'bandwidth_mbps'"),
        ("cv: 0.3", "cvv: 0.3", "cvv", "unknown key 'cvv'", "'cv'"),
        ("distribution", "distributon", "distributon", "unknown key 'distributon'", "'distribution'"),
        ("burst_s", "bursts", "bursts", "unknown key 'bursts'", "'burst_s'"),
        ("factor: 8", "factr: 8", "factr", "unknown key 'factr'", "'factor'"),
        (", factor: 8", "", "node-slow", "'factor' is missing", "add"),
        ("    task: text-generation\n", "", "id: gpt2", "'task' is missing in models.0", "add"),
        ("text-generation", "text-gen", "text-gen", "models.0.task", "examples"),
        ("kind: node-up", "kind: node-upp", "node-upp", "node-upp", "examples"),
        ("memory_gib: 4", "memory_gib: -4", "-4", "greater than 0", "examples"),
        ("memory_gib: 4", "memory_gib: yes", "yes", "a number is needed", "examples"),
        ("memory_gib: 4", "memory_gib: .inf", ".inf", "finite", "examples"),
        ("duration_s: 600", "duration_s: long", "long", "valid number", "examples"),
        ("edge-2, memory_gib: 2", "edge-1, memory_gib: 2", "memory_gib: 2}", "there twice", "own"),
        ("b: edge-2, latency", "b: edge-9, latency", "edge-9", "'edge-9' is not in the scenario", "edge-"),
        ("b: edge-2, latency", "b: edge-1, latency", "pairs", "joins two nodes", "itself"),
        ("memory_gib: 1.0", "memory_gib: 9.0", "9.0", "needs 9 GiB and fits no node", "more memory"),
        ("edge-1: [gpt2]", "edge-1: [gpt3]", "gpt3", "'gpt3' is not in the scenario", "'gpt2'"),
        ("edge-1: [gpt2]", "edge-3: [gpt2]", "edge-3", "'edge-3' is not in the scenario", "edge-"),
        ("{model: gpt2,", "{model: gtp2,", "gtp2", "'gtp2' is not in the scenario", "'gpt2'"),
        ("edge-2: 0.8", "edge-x: 0.8", "edge-x", "'edge-x' is not in the scenario", "edge-"),
        ("{edge-1: 0.2, edge-2: 0.8}", "{edge-1: 0}", "spatial", "all zero", "share"),
        ("at_s: 40", "at_s: 600", "at_s: 600", "is over", "earlier"),
        ("node: edge-1, f", "node: edge-7, f", "edge-7", "'edge-7' is not in the scenario", "edge-"),
        ("service_s: {mean: 2.0, cv: 0.4", "service_s: {base: 2.0, cv: 0.4", "synthetic", "no sizes", "mean"),
        ("name: tiny", "name: tiny\nname: twice", "twice", "'name' is there twice", "remove"),
    ],
)
def test_what_is_wrong_is_named_by_line(old: str, new: str, at: str, says: str, hint: str) -> None:
    text = SYNTHETIC.replace(old, new)
    assert text != SYNTHETIC
    error = refusal(text)
    assert error.where == f"s.yaml:{line_of(text, at)}"
    assert says in error.message
    assert hint in error.hint


@pytest.mark.parametrize(
    ("old", "new", "at", "says"),
    [
        ("  target_load: 0.8\n", "", "share: 0.7", "share needs target_load"),
        ("share: 0.7", "rate_scale: 2", "rate_scale: 2", "does not go with"),
        ("share: 0.7", "share: 0.7, rate_scale: 2", "rate_scale: 2", "does not go with"),
        (", share: 0.7", "", "text-small}", "needs a share for each"),
        ("model_class: text-small, ", "", "file: t.csv, share", "a model_class or a model"),
        ("model_class: text-small", "model_class: text-small, model: blip", "model: blip", "is for image-to-text"),
        ("model_class: text-small", "model_class: text-large", "text-large", "'gpt2-large' is not in the scenario"),
        (
            "file: t.csv, model_class: text-small",
            "file: u.csv, model_class: text-small",
            "u.csv",
            "no such trace file",
        ),
        ("{blip: 0.9}", "{blib: 0.9}", "blib", "'blib' is not in the scenario"),
        ("{blip: 0.9}", "{blip: 0, gpt2: 0}", "shares:", "no prompts at all"),
        (
            "  target_load: 0.8\n",
            "  synthetic: [{model: blip, rate_per_s: 1}]\n  target_load: 0.8\n",
            "workload",
            "both",
        ),
    ],
)
def test_a_workload_that_contradicts_itself_is_refused(folder: Path, old: str, new: str, at: str, says: str) -> None:
    text = TRACED.replace(old, new)
    assert text != TRACED
    error = refusal(text, folder / "s.yaml")
    assert error.where == f"{folder / 's.yaml'}:{line_of(text, at)}"
    assert says in error.message
    assert error.hint


def test_a_shift_needs_a_load_to_keep() -> None:
    shift = "  - {at_s: 50, kind: popularity-shift, shares: {gpt2: 1}}\n"
    assert "keeps target_load" in refusal(SYNTHETIC + shift).message


def test_nothing_to_serve_is_refused() -> None:
    text = SYNTHETIC[: SYNTHETIC.index("  synthetic")] + "  spatial: {edge-1: 1}\n"
    assert "neither traces nor synthetic" in refusal(text).message
    assert "'nodes' is missing" in refusal("name: x\nduration_s: 1\nnodes:\n").message


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "empty"),
        ("- a\n", 1, "a mapping"),
        ("name: x\n  bad: [\n", 2, "not valid YAML"),
        ("name: &a [*a]\n", 1, "contains itself"),
        ("? [a, b]\n: 1\n", 1, "a key must be a name"),
        ("name: !!python/object:os.system x\n", 1, "not valid YAML"),
    ],
)
def test_what_is_no_scenario_file(text: str, line: int, says: str) -> None:
    error = refusal(text)
    assert says in error.message
    assert error.where == f"s.yaml:{line}"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such scenario") as caught:
        load_scenario("paper8")
    assert "'paper7'" in caught.value.hint
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(BadInput, match="UTF-8"):
        load_scenario(latin)
    with pytest.raises(BadInput, match="cannot read"):
        load_scenario(tmp_path)


def test_the_two_forms_of_service_are_told_apart(folder: Path) -> None:
    scenario = parse_scenario(TRACED, folder / "s.yaml")
    assert scenario.model("gpt2").service_s == SizedService(0.5, 0.01, 0.1)
    error = refusal(TRACED.replace("per_input_token", "per_in_token"), folder / "s.yaml")
    assert (error.message, "'per_input_token'" in error.hint) == ("unknown key 'per_in_token'", True)
