"""One controller, not two: recorded inputs give equal decisions through the plain functions and through the graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agents.deployer import arrange
from edgewise.control import decide, intake
from edgewise.control.planning import epoch_plans
from edgewise.control.state import EpochResult, Job, Ticket
from edgewise.domain.codec import from_json, to_plain
from edgewise.domain.decision import Decision, Rung
from edgewise.domain.plan import Change
from graphs import epoch, slot
from graphs.state import dump, read
from graphs.tools import OfflineTools
from tests.support.control_world import short_settings

FOLDER = Path(__file__).parent / "observations"
NAMES = sorted(p.stem for p in FOLDER.glob("*.json"))


def recorded(name: str) -> Ticket:
    return from_json(Ticket, (FOLDER / f"{name}.json").read_bytes(), name)


def job_of(name: str) -> Job:
    start = recorded(name)
    assert start.observation is not None
    return intake.take(start, start.observation)


class Watching(OfflineTools):
    """Keeps what the graph hands to its doors."""

    def __init__(self) -> None:
        super().__init__(short_settings())
        self.order: Sequence[Change] = ()
        self.recorded: list[Decision] = []

    async def act(self, decision: Decision, order: Sequence[Change]) -> Decision:
        self.order = order
        return decision

    async def record(self, job: Job, decision: Decision) -> None:
        self.recorded.append(decision)


async def through_graph(name: str, tools: OfflineTools) -> dict[str, Any]:
    compiled = slot.build(tools).compile()
    state: dict[str, Any] = await compiled.ainvoke({"ticket": dump(recorded(name))})  # type: ignore[arg-type]
    return state


def test_there_are_recordings() -> None:
    assert NAMES == ["first", "node-loss", "shift", "stale"]


@pytest.mark.parametrize("name", NAMES)
async def test_plain_functions_and_graph_decide_alike(name: str) -> None:
    tools = Watching()
    state = await through_graph(name, tools)
    plain = decide.decide(job_of(name), tools.settings, arrange)
    graph = read(Decision, state, "decision")
    assert to_plain(graph) == to_plain(plain)
    assert [to_plain(d) for d in tools.recorded] == [to_plain(plain)]


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_decision_replays_identically(name: str) -> None:
    settings = short_settings()
    assert decide.decide(job_of(name), settings, arrange) == decide.decide(job_of(name), settings, arrange)


@pytest.mark.parametrize("name", ["shift", "node-loss"])
async def test_plain_search_and_epoch_graph_find_the_same(name: str) -> None:
    tools = Watching()
    state: dict[str, Any] = await epoch.build(tools).compile().ainvoke({"ticket": dump(recorded(name))})  # type: ignore[arg-type,assignment]
    plain = epoch_plans(job_of(name), (), tools.settings, recorded(name).decision_id)
    assert read(EpochResult, state, "result") == plain


def test_the_first_slot_covers_every_model() -> None:
    decision = decide.decide(job_of("first"), short_settings(), arrange)
    assert decision.verdict.reason == "first plan"
    assert {r.model for r in decision.plan.replicas} == {"gpt2", "gpt2-large", "blip", "stable-diffusion"}
    assert all(o.status == "pending" for o in decision.changes)


def test_the_loss_of_a_node_is_answered_at_once() -> None:
    decision = decide.decide(job_of("node-loss"), short_settings(), arrange)
    assert decision.trigger == "node-loss"
    assert decision.verdict.accepted
    assert all(r.node != "edge-1" for r in decision.plan.replicas)
    assert {r.model for r in decision.plan.replicas} == {"gpt2", "gpt2-large", "blip", "stable-diffusion"}


def test_stale_figures_hold_the_last_plan_and_say_so() -> None:
    decision = decide.decide(job_of("stale"), short_settings(), arrange)
    incumbent = recorded("stale").incumbent
    assert incumbent is not None
    assert decision.rung is Rung.LAST_GOOD
    assert not decision.verdict.accepted
    assert "old" in decision.verdict.reason
    alive = {n.id for n in job_of("stale").observation.alive}
    assert set(decision.plan.replicas) == {r for r in incumbent.replicas if r.node in alive}
    assert decision.plan.expires_s > incumbent.expires_s
