"""Parts of a running demo are killed: what is said, what goes on, what is left, and that every prompt is counted."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from tests.support.demo_process import DemoProcess
from tests.support.recompute import prompt_rows

pytestmark = pytest.mark.timeout(300)
Start = Callable[..., DemoProcess]
SHORT = ("--duration", "14", "--slot-s", "2", "--epoch-slots", "3", "--nodes", "2")


def kill(demo: DemoProcess, role: str, number: signal.Signals = signal.SIGKILL) -> int:
    pid = demo.roles()[role]
    os.kill(pid, number)
    return pid


def test_controller_and_store_may_die(start_demo: Start) -> None:
    demo = start_demo(*SHORT)
    demo.wait_for(lambda: demo.prompts() >= 5)
    kill(demo, "store")
    killed = kill(demo, "control")
    demo.wait_for(lambda: demo.roles().get("control", killed) != killed)
    summary = demo.finish()
    words = demo.errors.read_text()
    assert "the store ended; the run goes on" in words
    assert "the controller ended (signal 9); it is started again" in words
    assert summary["failure"] == ""
    assert summary["prompts_lost"] == summary["prompts_failed"] == 0
    assert (demo.run / "spool.jsonl").exists()
    decisions = [json.loads(line) for line in (demo.run / "decisions.jsonl").read_text().splitlines()]
    slots = [d["slot"] for d in decisions]
    assert slots == sorted(set(slots))
    assert len({d["id"] for d in decisions}) == len(decisions)
    assert_each_step_once(demo)


def assert_each_step_once(demo: DemoProcess) -> None:
    """The controller that took over wrote down no step of a replica a second time."""
    rows = [json.loads(line) for line in (demo.run / "events.jsonl").read_text().splitlines()]
    last: dict[tuple[str, str], str] = {}
    for row in rows:
        if row.get("kind") in ("load", "ready", "drain", "unload"):
            place = (row["node"], row["model"])
            assert last.get(place) != row["kind"], row
            last[place] = row["kind"]


def assert_ended_with_a_word(demo: DemoProcess, words: str) -> dict[str, Any]:
    family = [p.pid for p in demo.family()]
    summary = demo.finish(60, code=1)
    assert words in summary["failure"]
    assert demo.errors.read_text().strip().splitlines()[-1].startswith(f"edgewise: {words}")
    rows = prompt_rows(demo.run)
    assert summary["prompts_accepted"] == len(rows) == summary["caller"]["sent"]
    assert summary["prompts_lost"] == summary["caller"]["lost"]
    assert not [p for p in family if psutil.pid_exists(p)]
    return summary


@pytest.mark.slow
def test_a_dead_gateway_ends_the_run_and_every_prompt_is_counted(start_demo: Start) -> None:
    demo = start_demo("--duration", "120", "--nodes", "2")
    demo.wait_for(lambda: demo.prompts() >= 5)
    kill(demo, "gateway")
    assert_ended_with_a_word(demo, "the gateway ended (signal 9)")


@pytest.mark.slow
def test_a_dead_fork_server_ends_the_run(start_demo: Start) -> None:
    demo = start_demo("--duration", "120", "--nodes", "3")
    demo.wait_for(lambda: demo.prompts() >= 5)
    kill(demo, "fork server")
    assert_ended_with_a_word(demo, "the fork server ended")


@pytest.mark.slow
def test_a_controller_that_dies_again_and_again_is_given_up_and_prompts_are_served_on(start_demo: Start) -> None:
    demo = start_demo("--duration", "60", "--slot-s", "2", "--nodes", "2")
    demo.wait_for(lambda: demo.prompts() >= 5)
    for _ in range(4):
        demo.wait_for(lambda: "control" in demo.roles())
        kill(demo, "control")
        demo.wait_for(lambda: "control" not in demo.roles())
    served = demo.prompts()
    demo.wait_for(lambda: demo.prompts() > served + 5)
    summary = demo.finish(code=1)
    assert "started again 3 times already" in summary["failure"]
    assert summary["prompts_lost"] == 0
