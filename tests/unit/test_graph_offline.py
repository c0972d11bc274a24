"""langgraph.json points at factories that open without configuration, and nothing is compiled at import."""

from __future__ import annotations

import importlib
import json
from itertools import pairwise
from pathlib import Path

import pytest

import graphs.slot
from agents.proposal import Proposal
from edgewise.control.state import EpochResult
from edgewise.domain.decision import LlmUse, Rung
from graphs.epoch import joined
from tests.support.control_world import plan_of

ROOT = Path(__file__).parents[2]


def test_the_factories_of_langgraph_json_open() -> None:
    named = json.loads((ROOT / "langgraph.json").read_text(encoding="utf-8"))["graphs"]
    assert set(named) == {"slot", "epoch"}
    for target in named.values():
        path, factory = target.split(":")
        module = importlib.import_module(path.removeprefix("./").removesuffix(".py").replace("/", "."))
        compiled = getattr(module, factory)()
        assert {"observe", "recall", "plan"} <= set(compiled.get_graph().nodes)


@pytest.mark.parametrize(("name", "answer"), [("slot", "decision"), ("epoch", "result")])
async def test_the_example_inputs_run_offline(name: str, answer: str) -> None:
    target = json.loads((ROOT / "langgraph.json").read_text(encoding="utf-8"))["graphs"][name]
    module = importlib.import_module(target.split(":")[0].removeprefix("./").removesuffix(".py").replace("/", "."))
    given = json.loads((ROOT / "examples" / "graph" / f"{name}.json").read_text(encoding="utf-8"))
    state = await getattr(module, target.split(":")[1])().ainvoke(given)
    assert state[answer]["id"] == given["ticket"]["decision_id"]


def test_the_drawings_are_current() -> None:
    from scripts import drawings

    assert not drawings.stale(), "run scripts/drawings.py"


def test_the_slot_graph_has_the_steps_of_the_design_in_order() -> None:
    from graphs.offline import slot_graph

    drawn = slot_graph().get_graph()
    edges = {(e.source, e.target) for e in drawn.edges}
    steps = ["observe", "recall", "plan", "schedule", "deploy", "gate", "act", "record", "reflect"]
    assert set(pairwise(steps)) <= edges
    assert ("schedule", "gate") in edges  # nothing to deploy


def test_nothing_is_compiled_at_import() -> None:
    assert not [v for v in vars(graphs.slot).values() if type(v).__name__ == "CompiledStateGraph"]


def test_a_proposal_joins_the_result_under_a_new_id() -> None:
    result = EpochResult("e-000001", 0, 0.0, ())
    assert joined(result, Proposal(None, Rung.OPTIMISER, LlmUse(), "")) is result
    got = joined(result, Proposal(plan_of([]), Rung.LLM_REPAIRED, LlmUse(calls=1), "mended"))
    assert (got.id, got.plans[0].source, got.plans[0].rung) == ("e-000001-llm", "llm", Rung.LLM_REPAIRED)
    fallen = joined(result, Proposal(None, Rung.OPTIMISER, LlmUse(calls=1, fallbacks=1), "not JSON"))
    assert fallen.plans == ()
    assert fallen.notes == ("language model: not JSON",)
    assert fallen.llm.fallbacks == 1
