"""The ladder on thousands of spoilt answers: it never raises, and what it lets through names known things only."""

from __future__ import annotations

import json
import math
import random
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.answer import MAX_ALPHA, Names
from agents.ladder import Reading, read_answer
from agents.names import nearest
from agents.planner import to_plan
from edgewise.settings import Settings
from tests.support.planner_world import observed
from tests.support.spoil import spoil_text, spoil_value

NAMES = Names(("edge-1", "edge-2", "edge-3"), ("gpt2", "gpt2-large", "blip", "stable-diffusion"))

wanted = st.dictionaries(
    st.sampled_from(NAMES.nodes), st.lists(st.sampled_from(NAMES.models), max_size=4), min_size=1
)
valid = st.builds(
    lambda w, alpha, slots, reason: {
        "replicas": [{"node": n, "models": m} for n, m in w.items()],
        "roles": [{"node": n, "role": "mixed"} for n in w],
        "alpha": alpha,
        "expires_slots": slots,
        "reason": reason,
    },
    wanted,
    st.none() | st.floats(0, MAX_ALPHA),
    st.none() | st.integers(1, 1000),
    st.text(max_size=30),
)


def holds(reading: Reading) -> None:
    """What every reading must satisfy."""
    if reading.answer is None:
        assert reading.rung is None
        assert reading.reason
        return
    plan = to_plan(reading.answer, "p", observed(), Settings())
    assert plan.replicas
    assert len(set(plan.replicas)) == len(plan.replicas)
    assert {g.node for g in plan.replicas} | {r.node for r in plan.roles} <= set(NAMES.nodes)
    assert {g.model for g in plan.replicas} <= set(NAMES.models)
    assert plan.alpha is None or 0 <= plan.alpha <= MAX_ALPHA
    assert math.isfinite(plan.expires_s)
    assert plan.expires_s > plan.made_at_s
    assert plan.reason == "" or plan.reason.isprintable()
    json.dumps(reading.notes)


@settings(max_examples=400, deadline=None)
@given(valid)
def test_a_valid_answer_is_its_own_reading(plan: dict[str, Any]) -> None:
    reading = read_answer(json.dumps(plan), NAMES)
    holds(reading)
    asked = sorted({(e["node"], m) for e in plan["replicas"] for m in e["models"]})
    assert (reading.answer.pairs() if reading.answer else []) == asked


@settings(max_examples=600, deadline=None)
@given(valid, st.integers(0, 2**32), st.sampled_from(["stop", "length", "", "content_filter"]))
def test_spoilt_answers_never_raise_and_never_name_strangers(plan: dict[str, Any], seed: int, finish: str) -> None:
    rng = random.Random(seed)
    for _ in range(8):  # with the examples: about 5,000 spoilt answers
        value: Any = plan
        for _ in range(rng.randrange(4)):
            value = spoil_value(value, rng)
        text = json.dumps(value)
        for _ in range(rng.randrange(4)):
            text = spoil_text(text, rng) if text else "{"
        holds(read_answer(text, NAMES, finish))


@settings(max_examples=300, deadline=None)
@given(valid, st.data())
def test_a_cut_answer_keeps_the_whole_placement_or_none(plan: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(plan)
    end = data.draw(st.integers(0, len(text)))
    reading = read_answer(text[:end], NAMES, "length")
    holds(reading)
    asked = sorted({(e["node"], m) for e in plan["replicas"] for m in e["models"]})
    assert reading.answer is None or reading.answer.pairs() == asked


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=400) | st.text(alphabet="{}[]\":,\\ '`ab1-.eN\n", max_size=400))
@example("\ud800")
@example('{"replicas": [{"node": "edge-1", "models": ["gpt2"]}], "alpha": ' + "9" * 5000 + "}")
def test_any_text_at_all(text: str) -> None:
    holds(read_answer(text, NAMES))


@given(st.text(max_size=20), st.lists(st.text(min_size=1, max_size=10), max_size=6))
def test_the_nearest_name_is_a_known_one(name: str, known: list[str]) -> None:
    assert nearest(name, known) in {None, *known}
    assert name not in known or nearest(name, known) == name
