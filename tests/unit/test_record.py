"""The recorder: a run becomes a trace with the same prompts, in the same order, at the same times."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from edgewise.compose.traces import print_made, record_trace
from edgewise.domain.errors import BadInput
from edgewise.domain.records import PromptRow, PromptStatus
from evals.record import record
from evals.traces import ModelClass, read_trace
from evals.workload import trace_workload
from tests.support.make_run import WORLD, make_run
from tools.rundir import EVENTS, SCENARIO, read_prompts

KINDS = {
    "gpt2": ModelClass.TEXT_SMALL,
    "gpt2-large": ModelClass.TEXT_LARGE,
    "blip": ModelClass.IMAGE_CAPTION,
    "stable-diffusion": ModelClass.IMAGE_GENERATION,
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def by_arrival(run: Path) -> list[PromptRow]:
    return sorted(read_prompts(run), key=lambda p: p.arrived_s)


def edit(run: Path, number: int, **changes: object) -> str:
    """Change one line of events.jsonl; where it stands."""
    path = run / EVENTS
    lines = path.read_bytes().splitlines()
    lines[number - 1] = orjson.dumps(orjson.loads(lines[number - 1]) | changes)
    path.write_bytes(b"\n".join(lines) + b"\n")
    return f"{path}:{number}"


def prompt_line(run: Path) -> int:
    """The first line of events.jsonl that is a prompt."""
    lines = (run / EVENTS).read_bytes().splitlines()
    return next(i for i, line in enumerate(lines, 1) if b"arrived_s" in line)


def test_a_recorded_run_replays_as_the_same_prompts(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "trace.csv.gz"
    record_trace(run, out)
    prompts = by_arrival(run)
    rows = read_trace(out)
    assert [(r.model, r.access_node, r.model_class) for r in rows] == [
        (p.model, p.access_node, KINDS[p.model]) for p in prompts
    ]
    assert [r.timestamp_s for r in rows] == [p.arrived_s - prompts[0].arrived_s for p in prompts]
    assert (rows[0].timestamp_s, {r.source for r in rows}) == (0.0, {"edgewise-run:generated"})

    replayed = trace_workload(out, WORLD, {}, 1000.0, 8.0, 0.5, speedup=1.0).rows
    assert [(r.model, r.access_node) for r in replayed] == [(p.model, p.access_node) for p in prompts]
    assert [r.at_s for r in replayed] == pytest.approx([r.timestamp_s for r in rows])


def test_all_that_was_asked_is_demand_however_it_ended(run: Path) -> None:
    number = prompt_line(run)
    edit(run, number, status="shed", finished_s=None, error="late")
    made = record(run)
    known = {p.status for p in read_prompts(run)}
    assert {PromptStatus.SHED, PromptStatus.PENDING, PromptStatus.COMPLETED} <= known
    assert sum(made.statuses.values()) == len(made.rows) == len(read_prompts(run))
    assert made.statuses["shed"] == 1
    (shed,) = [r for r in made.rows if r.line == number]
    assert shed.extra == {"status": "shed"}


def test_sizes_are_the_gateways_and_unknown_ones_stay_unknown(run: Path) -> None:
    number = prompt_line(run)
    edit(run, number, model="blip", input_tokens=7, output_tokens=None, images=2)
    (row,) = [r for r in record(run).rows if r.line == number]
    assert (row.input_tokens, row.output_tokens, row.images) == (7, None, 2)
    edit(run, number, model="gpt2", images=None)
    made = record(run)
    (row,) = [r for r in made.rows if r.line == number]
    assert row.images == 0  # a text prompt has none
    assert made.unknown["output_tokens"] == len(made.rows)


def test_a_last_line_without_its_end_is_left_for_later(run: Path) -> None:
    path = run / EVENTS
    data = path.read_bytes()
    before = record(run).rows
    path.write_bytes(data + b'{"id": "p-x", "model": "gpt2", "arr')
    made = record(run)
    assert made.rows == before
    half = len(data.splitlines()) + 1
    assert any(f"events.jsonl:{half} has no end" in note for note in made.notes)
    path.write_bytes(data)
    assert not any("no end" in note for note in record(run).notes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"arrived_s": "soon"}, "arrived_s"),
        ({"arrived_s": -1.0}, "not a time"),
        ({"status": "lost"}, "status"),
        ({"input_tokens": -4}, "input_tokens: -4"),
        ({"output_tokens": 10**9}, "output_tokens: 1000000000"),
        ({"model": "gtp2"}, "'gtp2' is not in scenario.yaml"),
    ],
)
def test_a_broken_line_is_named(run: Path, changes: dict[str, object], says: str) -> None:
    where = edit(run, prompt_line(run), **changes)
    with pytest.raises(BadInput) as caught:
        record(run)
    assert caught.value.where == where
    assert says in caught.value.message


def test_a_line_that_is_not_json_is_named(run: Path) -> None:
    path = run / EVENTS
    lines = path.read_bytes().splitlines()
    lines[4] = lines[4][:-3]
    path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(BadInput) as caught:
        record(run)
    assert caught.value.where == f"{path}:5"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: x\n", "which models it had"),
        ("models: [{id: gpt2, task: text-generatoin}]\n", "no known task"),
        ("models: [gpt2]\n", "no id"),
        ("models: [", "not valid YAML"),
    ],
)
def test_a_scenario_that_does_not_say_the_models_is_refused(run: Path, text: str, says: str) -> None:
    (run / SCENARIO).write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=says) as caught:
        record(run)
    assert str(run / SCENARIO) in caught.value.where


def test_a_folder_that_is_no_run_or_has_no_prompts_is_refused(run: Path, tmp_path: Path) -> None:
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(BadInput, match="run directory"):
            record(folder)
    (run / EVENTS).write_bytes(b"")
    with pytest.raises(BadInput, match="no prompts"):
        record(run)


def test_the_command_says_where_second_0_is_and_how_prompts_ended(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = record_trace(run, tmp_path / "t.csv")
    first = by_arrival(run)[0].arrived_s
    assert made["starts_at"] == f"run second {first:.12g}, the first arrival"
    print_made(made)
    said = capsys.readouterr().out
    assert f"{made['prompts']} prompts" in said
    assert "ended: " in said
    with pytest.raises(BadInput):
        record_trace(run, run / EVENTS)
