"""The cluster behind what was seen: nodes and memory as given, as said, as they follow from totals."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgewise.domain.errors import BadInput
from edgewise.domain.model import Task
from evals.shadow.given import Given, ModelGiven, NodeGiven, load_given
from evals.shadow.recorder import Poll
from evals.shadow.stage import Dispatch, Stage, stage
from evals.shadow.stretches import stretches
from evals.shadow.traffic import traffic
from tools.foreign.records import Busy, Count, NodeMemory, Reading, Resident, TaskOf, What
from tools.foreign.systems import Kind


def engine(name: str, model: str, at_s: float, ended: float) -> Poll:
    counts = (Count("", model, What.FINISHED, ended), Count("", model, What.LATENCY_S, ended),
              Count("", model, What.LATENCY_COUNT, ended))  # fmt: skip
    return Poll(name, at_s, at_s, Reading(counts, (Busy("", model, 0),), (Resident("", model),), models=(model,)))


def staged(polls: list[Poll], kind: Kind, given: Given) -> Stage:
    kinds = {p.endpoint: kind for p in polls}
    found = stretches(polls)
    return stage(polls, found, traffic(found, kinds), kinds, given)


THREE = [engine(e, m, t, 5 * t) for e, m in (("a:1", "x:7b"), ("b:1", "y"), ("c:1", "z")) for t in (0.0, 2.0)]


def test_an_endpoint_is_a_node_and_names_become_ids() -> None:
    found = staged(THREE, Kind.VLLM, Given())
    assert [n.id for n in found.nodes] == ["a-1", "b-1", "c-1"]
    assert [m.id for m in found.models] == ["x-7b", "y", "z"]
    assert found.dispatch is Dispatch.OWN
    assert found.placement.tolist() == [[True, False, False], [False, True, False], [False, False, True]]
    assert any("batching is not said" in g for g in found.guessed)


def test_a_number_of_nodes_is_a_balanced_cluster() -> None:
    found = staged(THREE, Kind.VLLM, Given(count=2))
    assert [n.id for n in found.nodes] == ["node-1", "node-2"]
    assert found.dispatch is Dispatch.BALANCED
    assert found.placement.all()


def test_a_file_says_which_endpoint_a_node_is() -> None:
    listed = (NodeGiven("left", "http://b:1", 8.0, 2.0), NodeGiven("right", "http://a:1", 4.0), NodeGiven("rest"))
    models = {"x:7b": ModelGiven(memory_gib=3.0, task=Task.IMAGE_TO_TEXT, batching=0.0)}
    found = staged(THREE, Kind.VLLM, Given(listed, None, models))
    assert found.node_of == {"a:1": 1, "b:1": 0, "c:1": 2}
    assert [(n.memory_gib, n.speed) for n in found.nodes] == [(8.0, 2.0), (4.0, 1.0), (1.0, 1.0)]
    assert (found.models[0].memory_gib, found.models[0].task) == (3.0, Task.IMAGE_TO_TEXT)


def test_memory_of_models_follows_from_totals_of_nodes() -> None:
    def node(name: str, at_s: float, holds: tuple[str, ...], used: float) -> Poll:
        memory = (NodeMemory(name, 6.0, used),)
        resident = tuple(Resident(name, m) for m in holds)
        counts = tuple(Count(name, m, What.SERVICE_COUNT, at_s) for m in holds)
        tasks = (TaskOf("p", "text-to-image"),)
        return Poll(f"e-{name}", at_s, at_s, Reading(counts, (), resident, (), memory, holds, tasks))

    polls = [
        node(n, t, holds, used)
        for n, holds, used in (("n1", ("p", "q"), 3.5), ("n2", ("q",), 1.5), ("n3", ("q", "r"), 4.0))
        for t in (0.0, 2.0)
    ]
    found = staged(polls, Kind.EDGEWISE_NODE, Given())
    assert [m.memory_gib for m in found.models] == pytest.approx([2.0, 1.5, 2.5])
    assert {n.memory_gib for n in found.nodes} == {6.0}
    assert found.models[0].task is Task.TEXT_TO_IMAGE


def test_files_that_are_wrong_are_said(tmp_path: Path) -> None:
    assert load_given("3", None).count == 3
    nodes = tmp_path / "nodes.yaml"
    nodes.write_text("- {id: a, memory: 3}\n")
    with pytest.raises(BadInput, match="memory") as caught:
        load_given(str(nodes), None)
    assert caught.value.where == str(nodes)
    nodes.write_text("nodes:\n- {id: a, endpoint: 'http://a:1', memory_gib: 3}\n")
    assert load_given(str(nodes), None).nodes == (NodeGiven("a", "http://a:1", 3.0),)
    models = tmp_path / "models.yaml"
    models.write_text("llama3:8b: {memory_gib: 5, batching: 0.5}\n")
    assert load_given(None, models).models == {"llama3:8b": ModelGiven(memory_gib=5.0, batching=0.5)}
    models.write_text("llama3:8b: {batching: 2}\n")
    with pytest.raises(BadInput, match="batching"):
        load_given(None, models)
    for wrong in ("0", str(tmp_path / "none.yaml")):
        with pytest.raises(BadInput):
            load_given(wrong, None)
