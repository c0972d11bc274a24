"""A recorded conversation, tools included, comes to the same proposal again, with every door shut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agents.chat import OpenAIChat
from agents.planner import propose
from agents.recordings import RecordingChat, ReplayChat
from agents.tool_recordings import recording, replaying
from agents.toolbox import Toolbox
from edgewise.control.ports import ToolCall
from edgewise.domain.decision import Rung
from graphs.ladder import climb
from tests.support.control_world import short_settings
from tests.support.hostile import hostile_job
from tests.support.llm_server import LlmServer

SETTINGS = short_settings(gate_draws=4, select_draws=4, search_iterations=5, finalists=1, llm_timeout_s=60.0)


class Shut(Toolbox):
    def answer(self, call: ToolCall) -> str:
        raise AssertionError(f"{call.name} was recorded")


@pytest.mark.parametrize("faults", [("valid",), ("same-call",), ("valid", "empty", "fences"), ("valid", "500")])
async def test_a_conversation_replays_without_any_door(tmp_path: Path, faults: tuple[str, ...]) -> None:
    job, result = hostile_job("edge-1", SETTINGS)
    plan = result.plans[0].plan
    async with LlmServer(faults, tools=True) as server:
        live = RecordingChat(OpenAIChat(server.url), tmp_path)
        tools = recording(tmp_path)(Toolbox(job, result, SETTINGS), job, result)
        first = await propose(job, plan, live, tools, SETTINGS, "e-1-l", climb)
        await live.aclose()
    shut = replaying(tmp_path)(Shut(job, result, SETTINGS), job, result)
    again = await propose(job, plan, ReplayChat(tmp_path), shut, SETTINGS, "e-1-l", climb)
    assert first.use.calls >= 2
    assert (first.rung is Rung.OPTIMISER) == ("500" in faults)
    seconds = {"seconds": 0.0}  # a failed call is timed by us
    assert replace(again, use=replace(again.use, **seconds), **seconds) == replace(
        first, use=replace(first.use, **seconds), **seconds
    )
