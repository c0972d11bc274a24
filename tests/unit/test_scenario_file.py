"""Scenario files: what is right is read whole, what is wrong is named by line with the nearest right thing."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgewise.domain.errors import BadInput
from edgewise.domain.model import PromptSize, Task
from evals.node_groups import compact
from evals.scenario import Beliefs, Hints, MeanService, NodeSlow, PopularityShift, SizedService
from evals.scenario_file import load_scenario, parse_scenario, to_yaml
from evals.scenario_world import believed_world, from_world, to_world
from evals.sources import trace_source
from evals.traces import ModelClass, TraceRow, write_trace

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
        1.0,  # of an exponential, whatever cv says
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


def test_recorded_traces_are_taken_from_the_folder_when_there(folder: Path) -> None:
    name = load_scenario("paper7").workload.traces[0].file
    write_trace(folder / "traces" / name, [TraceRow(0.0, ModelClass.TEXT_SMALL, "t", 1, 1)])
    source = trace_source(load_scenario("paper7").workload.traces[0])
    assert (source.file, source.note) == (folder / "traces" / name, "")


EXTENDED = (
    "    service: ps",
    "    max_concurrency: 3\n    batch_curve: [1, 1.5, 1.5]",
    "name: tiny",
    "name: tiny\nhost_cores: 1.5\nhints: {noise: 0.1}\nbeliefs: {service_factor: {gpt2: 2}, spread: [0.5, 2]}",
    "burst_s: 20}",
    "burst_s: 20, burst_group: all}",
)


def extended() -> str:
    text = SYNTHETIC
    for old, new in zip(EXTENDED[::2], EXTENDED[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    return text


def test_the_later_keys_have_defaults_that_change_nothing() -> None:
    plain, s = parse_scenario(SYNTHETIC, HERE), parse_scenario(extended(), HERE)
    assert (plain.host_cores, plain.hints, plain.beliefs) == (None, Hints(0.4), Beliefs())
    assert (plain.model("gpt2").speedups, s.model("gpt2").speedups) == ((1.0,), (1.0, 1.5, 1.5))
    assert (s.hints.noise, s.beliefs) == (0.1, Beliefs({"gpt2": 2.0}, (0.5, 2.0)))
    assert (plain.capacity, s.capacity, to_world(s).host_cores) == (3.0, 1.5, 1.5)
    assert s.workload.synthetic[0].burst_group == "all"
    assert parse_scenario(to_yaml(s), HERE) == s


def test_beliefs_are_off_by_a_factor_and_the_world_is_not(folder: Path) -> None:
    text = TRACED.replace("name: traced", "name: traced\nbeliefs: {service_factor: {gpt2: 2}, spread: [0.5, 2]}")
    scenario = parse_scenario(text, folder / "s.yaml")
    true, believed = to_world(scenario).model("gpt2"), believed_world(scenario, 1).model("gpt2")
    size = PromptSize(50, 5)
    assert believed.mean_service_s == 2 * true.mean_service_s == pytest.approx(7.0)
    assert believed.expected_service_s(size) == pytest.approx(2 * true.expected_service_s(size))
    blips = [believed_world(scenario, seed).model("blip").mean_service_s for seed in range(40)]
    assert len(set(blips)) == 40
    assert 0.5 <= min(blips) < 0.7 < 1.5 < max(blips) <= 2.0


def test_nodes_alike_are_written_as_one_entry() -> None:
    text = SYNTHETIC.replace("{id: edge-2, memory_gib: 2}", "{id: far, memory_gib: 2, count: 12}")
    text = text.replace("edge-2", "far-12")
    scenario = parse_scenario(text, HERE)
    assert [n.id for n in scenario.nodes] == ["edge-1", *(f"far-{i}" for i in range(1, 13))]
    assert all(n.count is None for n in scenario.nodes)
    written = to_yaml(scenario)
    assert "count: 12" in written
    assert "far-3" not in written
    assert parse_scenario(written, HERE) == scenario


def test_nodes_that_only_look_alike_stay_single_entries() -> None:
    nodes = [{"id": f"a-{i}", "speed": 1.0} for i in (2, *range(1, 12), 13)]
    nodes += [{"id": f"b-{i}", "speed": float(i)} for i in range(1, 12)]
    nodes += [{"id": f"c-{i:02d}", "speed": 1.0} for i in range(1, 12)]
    nodes += [{"id": f"d-{i}", "speed": 1.0} for i in range(1, 10)]
    found = compact(nodes)
    assert found[:3] == [nodes[0], {"id": "a", "speed": 1.0, "count": 11}, nodes[12]]
    assert found[3:] == nodes[13:]


def test_a_run_is_written_down_as_a_scenario() -> None:
    first = parse_scenario(extended().replace("    max_concurrency: 3\n    batch_curve: [1, 1.5, 1.5]", ""), HERE)
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
        (
            "    service: ps",
            "    batch_curve: [1, 2]",
            "batch_curve",
            "has 2 figures, and max_concurrency is 1",
            "one figure",
        ),
        ("    service: ps", "    batch_curve: [2]", "batch_curve", "begins with 2", "speed 1"),
        ("    service: ps", "    max_concurrency: 2\n    batch_curve: [1, 0.5]", "batch_curve", "falls", "slower"),
        (
            "    service: ps",
            "    max_concurrency: 2\n    batch_curve: [1, 2.5]",
            "batch_curve",
            "faster than",
            "at most k",
        ),
        ("name: tiny", "name: tiny\nhints: {noise: -1}", "hints", "greater than or equal", "examples"),
        ("name: tiny", "name: tiny\nhints: {nois: 0}", "hints", "unknown key 'nois'", "'noise'"),
        ("name: tiny", "name: tiny\nbeliefs: {service_factor: {gpt3: 2}}", "beliefs", "'gpt3' is not", "'gpt2'"),
        ("name: tiny", "name: tiny\nbeliefs: {spread: [2, 1]}", "beliefs", "from 2 down", "lowest"),
        ("name: tiny", "name: tiny\nbeliefs: {spread: [2]}", "beliefs", "missing in beliefs.spread", "add"),
        ("name: tiny", "name: tiny\nhost_cores: 0", "host_cores", "greater than 0", "examples"),
        ("memory_gib: 2}", "memory_gib: 2, count: 0}", "count", "greater than or equal to 1", "examples"),
        (
            "{id: edge-2, memory_gib: 2}",
            "{id: edge, memory_gib: 2, count: 2}",
            "count",
            "'edge-1' is there twice",
            "own",
        ),
        ("process: mmpp", "process: poisson, burst_group: a", "burst_group", "have no bursts", "mmpp"),
        ("burst_s: 20}", "burst_s: 20, burst_grup: a}", "burst_grup", "unknown key 'burst_grup'", "'burst_group'"),
        (
            "burst_s: 20}]",
            "burst_s: 20, burst_group: a},\n    {model: gpt2, process: mmpp, rate_per_s: 1, burst_group: a}]",
            "rate_per_s: 1,",
            "their bursts differ",
            "the same burst_s",
        ),
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
        ("share: 0.7", "share: 0.7, start_s: 5, until_s: 5", "until_s", "no rows are before 5 s and from 5 s on"),
        ("{base: 0.5, per_input_token: 0.01, per_output_token: 0.1}", "{base: 0}", "base: 0}", "take no time"),
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
