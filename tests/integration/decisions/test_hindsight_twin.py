"""The ledger through real parts: a short run of the product in the twin, and a controller with recorded prompts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from edgewise.control.calibration import calibration
from edgewise.control.hindsight import prompts_of
from edgewise.domain.codec import to_plain
from edgewise.domain.records import PromptRow, PromptStatus
from evals.backtest.run import backtest
from evals.scenario_file import load_scenario
from evals.simulate import simulate
from evals.suite import ci
from evals.suite.plots_hindsight import scatter, section
from graphs.controller import Controller
from tests.support.control_world import LARGE_HEAVY, SD_HEAVY, Loop, observe, rates, seven
from tools.history import RunHistory
from tools.rundir import decision_of, decision_row


def test_a_run_in_the_twin_keeps_its_ledger_unless_told_not_to(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = load_scenario(ci.SCENARIO)
    monkeypatch.setenv("EDGEWISE_HINDSIGHT", "0")
    assert simulate(scenario, "edgewise", 2).hindsight == ()
    monkeypatch.delenv("EDGEWISE_HINDSIGHT")
    found = simulate(scenario, "edgewise", 2)
    again = simulate(scenario, "edgewise", 2)
    assert found.hindsight == again.hindsight
    assert found.figures == again.figures
    figures = calibration(found.hindsight)
    assert figures.lines >= 3
    assert figures.slope is not None
    runs = {("edgewise", 2): {"hindsight": [to_plain(e) for e in found.hindsight]}, ("dpp", 2): {}}
    seen = section(runs)
    assert list(seen) == ["edgewise"]
    assert sum(len(trace["x"]) for trace in scatter(seen["edgewise"]["lines"])["data"]) == figures.lines + 2


def test_the_backtest_scores_every_method_on_both_halves() -> None:
    found = backtest(load_scenario(ci.SCENARIO), (1,))
    assert found["recorded"] == []
    for level in ("cells", "models"):
        for half in ("train", "held_out"):
            assert {"edgewise", "last-window", "smoothed", "seasonal-naive"} <= set(found[level][half])
            assert found[level][half]["last-window"]["mase"] == pytest.approx(1.0)
            assert found[level][half]["edgewise"]["wape"] > 0


def row(n: int, at_s: float, model: str, **more: object) -> PromptRow:
    values = {"deadline_s": 20.0, "ideal_s": 0.1, **more}
    return PromptRow(f"p-{n}", model, "edge-1", "edge-2", at_s, at_s, at_s + 1, PromptStatus.COMPLETED, None, 1,
                     **values)  # type: ignore[arg-type]  # fmt: skip


async def test_recorded_prompts_are_read_on_as_the_file_grows(tmp_path: Path) -> None:
    history = RunHistory(tmp_path)
    assert list(await history.prompts(0, 100)) == []
    file = tmp_path / "events.jsonl"
    lines = [orjson.dumps(to_plain(row(n, 1.0 + n, "gpt2"))) + b"\n" for n in range(4)]
    file.write_bytes(lines[0] + b'{"kind":"load","at_s":1.0,"node":"edge-1"}\n' + lines[1][:20])
    assert [r.id for r in await history.prompts(0, 100)] == ["p-0"]
    file.write_bytes(file.read_bytes() + lines[1][20:] + lines[2] + lines[3])
    assert [r.id for r in await history.prompts(2.0, 4.0)] == ["p-1", "p-2"]


def test_rows_become_demand_after_the_decision() -> None:
    o = observe(seven(), at_s=10.0)
    rows = [row(1, 9.0, "gpt2"), row(3, 12.0, "blip"), row(2, 11.0, "gpt2"), row(4, 40.0, "gpt2"), row(5, 11, "new")]
    came = prompts_of(rows, o, 20.0)
    assert came.at_s.tolist() == [1.0, 2.0]
    assert came.model.tolist() == [0, 2]
    assert came.hint_s.tolist() == [0.12, 0.2]


class Recorded:
    """A history that knows what a loop's telemetry was told."""

    def __init__(self, loop: Loop) -> None:
        self.loop, self.asked = loop, 0

    async def prompts(self, from_s: float, until_s: float) -> list[PromptRow]:
        self.asked += 1
        step = 0.5
        return [row(i, from_s + i * step, "gpt2") for i in range(int((until_s - from_s) / step))]


async def test_a_live_controller_writes_hindsight_into_its_records(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    history = Recorded(loop)
    ports = replace(loop.controller._ports, history=history)
    loop.controller = Controller(
        ports, loop.world, loop.settings, loop.controller.mode, tmp_path / "checkpoints.sqlite", "run"
    )
    async with loop:
        loop.rate = rates(loop.world, SD_HEAVY, 0.6)
        looking = loop.controller._looking
        assert looking is not None
        seen = []
        for slot in range(60):
            if slot == 6:
                loop.rate = rates(loop.world, LARGE_HEAVY, 0.7)  # now there is something to weigh
            await loop.slots(1)
            if looking.task is not None:
                await looking.task
            seen = [d for d in loop.journal.decisions if d.realised and d.realised.hindsight]
            if seen:
                break
        assert seen
        assert loop.controller._carry.ledger
        assert loop.controller.realised[seen[0].id].hindsight == seen[0].realised.hindsight  # type: ignore[union-attr]
    line = decision_row(seen[0])
    assert line["realised"]["hindsight"]["plans"][0]["source"] == "incumbent"
    assert decision_of(line).realised == seen[0].realised
