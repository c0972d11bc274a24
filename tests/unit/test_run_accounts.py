"""Every prompt that was sent is accounted for, whatever became of the gateway or the disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgewise.compose.summary import Extent, SentPrompt, add_rows, missing_rows, summarise
from edgewise.domain.cluster import NodeSpec
from edgewise.domain.decision import LlmUse
from edgewise.domain.records import PromptRow, PromptStatus
from edgewise.domain.world import World
from evals.ledger import Entry
from tests.contract.journal_spec import decision_of as some_decision
from tools import rundir
from tools.rundir import read_prompts


def sent(prompt_id: str, **fields: object) -> SentPrompt:
    entry = Entry(prompt_id, "m", "n1", due_s=1.0, sent_s=1.5, **fields)  # type: ignore[arg-type]
    return SentPrompt(entry, deadline_s=10.0, ideal_s=0.5)


def row(prompt_id: str) -> PromptRow:
    return PromptRow(prompt_id, "m", "n1", "n2", 1.5, 1.6, 2.0, PromptStatus.COMPLETED, "d-0", 1, 10.0, 0.5)


def test_prompts_the_gateway_left_no_row_of_get_one_as_their_caller_saw_them() -> None:
    prompts = [
        sent("known"),
        sent("lost", error="no answer: ServerDisconnectedError"),
        sent("answered", answered_s=3.0, status=200, ok=True, node="n2"),
        sent("refused", answered_s=3.0, status=503, error="status 503"),
        sent("broken", answered_s=3.0, status=200, node="n2", error="not a PNG"),
    ]
    made = missing_rows([row("known")], prompts)
    assert [(r.id, r.status, r.finished_s) for r in made] == [
        ("lost", PromptStatus.PENDING, None),
        ("answered", PromptStatus.COMPLETED, 3.0),
        ("refused", PromptStatus.SHED, 3.0),
        ("broken", PromptStatus.FAILED, 3.0),
    ]
    assert all("the gateway left no row of it" in r.error for r in made)
    assert made[1].node == "n2"


def test_rows_are_added_to_the_file(tmp_path: Path) -> None:
    assert add_rows(tmp_path, [row("a"), row("b")]) == ""
    assert [r.id for r in read_prompts(tmp_path)] == ["a", "b"]


def test_a_disk_that_is_full_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(rundir.os, "write", refuse)
        words = add_rows(tmp_path, [row("a"), row("b")])
    assert "No space left on device; rows not written: 2" in words
    assert "free some disk" in words
    assert str(tmp_path) in words


@pytest.mark.parametrize("decisions", [1, 3])
def test_the_first_placement_counts_neither_as_activation_nor_as_drain(tmp_path: Path, decisions: int) -> None:
    lines = rundir.LineWriter(tmp_path / rundir.DECISIONS)
    for slot in range(decisions):
        made = replace(some_decision(slot), at_s=12.0 + 2.0 * slot, llm=LlmUse(calls=1, error=f"no answer {slot}"))
        lines.append(rundir.decision_row(made))
    lines.close()
    events = rundir.LineWriter(tmp_path / rundir.EVENTS)
    for kind, at_s in (("ready", 12.5), ("ready", 13.9), ("ready", 15.0), ("unload", 13.0), ("unload", 16.0)):
        events.append({"kind": kind, "at_s": at_s, "node": "n1", "model": "m"})
    events.close()
    world = World((NodeSpec("n1", 4.0),), ())
    summary = summarise(tmp_path, world, Extent(slot_s=2.0, first_prompt_s=14.0, end_s=20.0, wall_s=20.0), [row("a")])
    assert (summary["activations"], summary["drains"]) == (1, 1)
    assert summary["prompts_completed"] == 1
    assert summary["llm"]["error"] == f"no answer {decisions - 1}"
