"""A controller that takes over goes on from what the run directory says: no id twice, no row twice, none missed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgewise.compose.resume import facts_so_far, past_decisions, replay
from edgewise.control.transitions import rows
from edgewise.domain.cluster import Link, Network, NodeSpec, ReplicaState
from edgewise.domain.errors import BadInput
from edgewise.domain.observation import ClusterFacts, NodeFact, ReplicaFact
from edgewise.domain.records import ReplicaRow
from edgewise.domain.world import World
from tests.contract.journal_spec import decision_of as some_decision
from tools.journal import RunJournal
from tools.rundir import decision_of, decision_row, read_decisions

WORLD = World((NodeSpec("n1", 8.0), NodeSpec("n2", 8.0)), (), Network(Link(0.0, 1000.0)))
LIFE = [
    ReplicaRow("node-up", 0.5, "n1"),
    ReplicaRow("node-up", 0.5, "n2"),
    ReplicaRow("load", 1.0, "n1", "a"),
    ReplicaRow("ready", 2.0, "n1", "a"),
    ReplicaRow("load", 2.0, "n1", "b"),
    ReplicaRow("load", 2.0, "n2", "a"),
    ReplicaRow("ready", 3.0, "n2", "a"),
    ReplicaRow("drain", 4.0, "n2", "a"),
    ReplicaRow("unload", 5.0, "n2", "a"),
]


def test_what_stands_is_read_off_the_rows() -> None:
    facts = replay(LIFE, WORLD)
    assert [(n.node, n.alive) for n in facts.nodes] == [("n1", True), ("n2", True)]
    assert {(r.node, r.model): r.state for r in facts.replicas} == {
        ("n1", "a"): ReplicaState.READY,
        ("n1", "b"): ReplicaState.LOADING,
    }
    assert facts.at_s == 5.0


def test_the_first_look_writes_down_only_what_happened_meanwhile() -> None:
    nodes = (NodeFact("n1", True, 8.0, 2.0), NodeFact("n2", False, 8.0, 0.0))
    replicas = (
        ReplicaFact("n1", "a", ReplicaState.READY, since_s=2.0),
        ReplicaFact("n1", "b", ReplicaState.READY, since_s=6.0),
    )
    seen = ClusterFacts(9.0, nodes, replicas)
    assert [(r.kind, r.node, r.model) for r in rows(replay(LIFE, WORLD), seen, {})] == [
        ("node-down", "n2", ""),
        ("ready", "n1", "b"),
    ]


def test_a_run_without_rows_has_no_past(tmp_path: Path) -> None:
    assert facts_so_far(tmp_path, WORLD, 10.0) is None
    assert past_decisions(tmp_path, 10.0) == []


async def test_a_line_gives_back_the_decision_it_was_made_of(tmp_path: Path) -> None:
    decision = some_decision(3)
    again = decision_of(decision_row(decision))
    assert decision_row(again) == decision_row(decision)
    # Of the candidates' plans the line holds only the ids, and what was chosen it says once.
    same = {"candidates": (), "verdict": replace(decision.verdict, chosen=decision.chosen, runner_up="")}
    assert replace(again, **same) == replace(decision, **same)


def test_a_line_that_is_none_is_named() -> None:
    row = decision_row(some_decision(0))
    del row["candidates"]
    with pytest.raises(BadInput, match="candidates") as caught:
        decision_of(row, "decisions.jsonl:1")
    assert caught.value.where == "decisions.jsonl:1"


async def test_a_journal_goes_on_from_the_file_even_when_the_one_before_was_killed(tmp_path: Path) -> None:
    killed = RunJournal(tmp_path)
    for slot in range(3):
        await killed.decision(some_decision(slot))
    later = RunJournal(tmp_path, past=past_decisions(tmp_path, now_s=1e9))
    assert [d.id for d in await later.recent_decisions(1)] == [some_decision(2).id]
    await later.decision(some_decision(3))
    scored = replace(some_decision(1), notes=("looked at again",))
    await later.decision(scored)
    await later.aclose()
    lines = read_decisions(tmp_path)
    assert [row["id"] for row in lines] == [some_decision(slot).id for slot in range(4)]
    assert lines[1]["notes"] == ["looked at again"]


def test_decisions_of_another_clock_are_not_this_runs(tmp_path: Path) -> None:
    from tools.rundir import DECISIONS, LineWriter

    writer = LineWriter(tmp_path / DECISIONS)
    for slot in range(3):
        writer.append(decision_row(some_decision(slot)))
    writer.close()
    times = [some_decision(slot).at_s for slot in range(3)]
    assert len(past_decisions(tmp_path, now_s=times[1])) == 2
