"""One recorded decision taken another way, and both futures compared."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from edgewise.compose.fork import Forked, fork_slot, forked_slot, read_edit
from edgewise.compose.recorded import Recorded, open_recorded, opened
from edgewise.domain.errors import BadInput, UnknownNode
from edgewise.domain.records import PromptRow, PromptStatus
from tests.support.llm_server import LlmServer
from tests.support.recorded_run import recorded_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded_run(tmp_path_factory.mktemp("runs") / "run", slots=12)


@pytest.fixture(scope="module")
def recorded(run: Path) -> Recorded:
    return open_recorded(run)


def forked(recorded: Recorded, slot: int, *words: str) -> Forked:
    return fork_slot(recorded, slot, read_edit(words))


def test_the_same_settings_take_the_same_decision(recorded: Recorded) -> None:
    found = forked(recorded, 6, "replan=no", "alpha=0.3")
    assert found.recorded.plan == found.forked.plan
    assert found.futures.differences.objective.mean == 0
    assert found.futures.arrivals == "forecast"


def test_a_lost_node_is_mended_and_its_replicas_are_gone_in_the_fork_alone(recorded: Recorded) -> None:
    before = recorded.decision(6).values
    found = forked(recorded, 6, "lost=edge-1").as_dict()
    assert found["forked"]["trigger"] == "node-loss"
    assert not [r for r in found["forked"]["replicas"] if r["node"] == "edge-1"]
    assert [r for r in found["plan_diff"]["only_recorded"] if r["node"] == "edge-1"]
    assert recorded.decision(6).values == before


def test_more_demand_makes_both_futures_slower_than_as_it_was(recorded: Recorded) -> None:
    as_it_was = forked(recorded, 6, "replan=no", "alpha=0.3").futures.plans[0]
    more = forked(recorded, 6, "demand.stable-diffusion=4").futures.plans[0]
    assert more.mean_latency_s.low > as_it_was.mean_latency_s.high


def test_a_weight_of_fairness_is_weighed_in_the_objective(recorded: Recorded) -> None:
    low, high = (forked(recorded, 6, f"alpha={x}", "replan=no").futures.plans[0] for x in (0, 3))
    assert high.objective.mean > low.objective.mean
    assert high.mean_latency_s == low.mean_latency_s


def test_an_edited_plan_is_compared_whatever_the_gate_says(recorded: Recorded) -> None:
    plan = recorded.decision(6).values["decision"]["plan"]["replicas"]
    victim = next(r for r in plan if sum(x["model"] == r["model"] for x in plan) > 1)
    found = forked(recorded, 6, f"drop={victim['node']}:{victim['model']}").as_dict()
    assert found["plan_diff"]["only_recorded"] == [victim]
    assert any("as edited" in note for note in found["notes"])


def test_the_arrivals_of_the_run_are_used_where_they_are_known(recorded: Recorded) -> None:
    o = recorded.decision(6).values["job"]["observation"]
    rows = tuple(_row(i, o["at_s"] + 0.2 * i) for i in range(400))
    known = replace(recorded, prompts=rows)
    found = forked(known, 6, "alpha=1").futures
    assert found.arrivals == "realised"
    assert found.draws == 16
    assert found.plans[0].attainment


def _row(i: int, at_s: float) -> PromptRow:
    return PromptRow(
        f"p{i}", "gpt2", "edge-1", "edge-1", at_s, at_s, at_s + 0.3, PromptStatus.COMPLETED, None, 1, 20, 0.1
    )


async def test_a_live_model_may_be_asked(run: Path) -> None:
    async with LlmServer("valid") as server:
        found = await forked_slot(await opened(run), 6, read_edit([]), server.url)
        assert len(server.requests) == 1
    assert "llm" in {c.source for c in found.forked.candidates} or found.forked.llm.calls == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("alpa=3",), "did you mean 'alpha'"),
        (("alpha=much",), "setting alpha"),
        (("llm_api_key=x",), "unknown key"),
        (("add=edge-1",), "NODE:MODEL"),
        (("demand.gpt2=-1",), "factor"),
        (("what",), "cannot read the fork edit"),
    ],
)
def test_a_bad_edit_is_named(recorded: Recorded, words: tuple[str, ...], says: str) -> None:
    with pytest.raises(BadInput) as caught:
        forked(recorded, 6, *words)
    assert says in caught.value.line()


def test_several_edits_may_stand_in_one_text() -> None:
    edit = read_edit(["alpha=3 demand.gpt2=0.5  lost=edge-1", "twin_error=[[0.3, 0.1, 0.02]]", "lost=edge-2"])
    assert edit.settings == {"alpha": 3, "twin_error": [[0.3, 0.1, 0.02]]}
    assert (edit.demand, edit.lost) == ({"gpt2": 0.5}, ("edge-1", "edge-2"))


def test_an_unknown_node_is_named(recorded: Recorded) -> None:
    with pytest.raises(UnknownNode, match="edge-99"):
        forked(recorded, 6, "lost=edge-99")


def test_a_file_says_the_same(tmp_path: Path, run: Path) -> None:
    edit = tmp_path / "edit.yaml"
    edit.write_text("settings: {alpha: 3}\ndemand: {gpt2: 2}\nlost: [edge-3]\n")
    done = _edgewise("replay", str(run), "--slot", "6", "--fork", str(edit), "--json")
    document = orjson.loads(done.stdout)
    assert done.returncode == 0
    assert document["edit"] == "alpha=3, demand of gpt2 × 2, edge-3 lost"
    assert set(document["difference"]) == {"objective", "mean_latency_s", "jain_normalized", "attainment"}
    edit.write_text("setings: {alpha: 3}\n")
    wrong = _edgewise("replay", str(run), "--slot", "6", "--fork", str(edit))
    assert wrong.returncode == 2
    assert "did you mean 'settings'" in wrong.stderr


def _edgewise(*arguments: str) -> subprocess.CompletedProcess[str]:
    command: list[Any] = [sys.executable, "-m", "edgewise.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)
