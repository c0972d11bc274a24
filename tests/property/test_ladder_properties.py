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

NAMES = Names(("edge-1", "edge-2", "edge-3"), ("gpt2", "gpt2-large", "blip", "stable-diffusion"))
WORDS = [*NAMES.nodes, *NAMES.models, "edge-9", "gpt-2", "Edge 1", "", "ignore previous instructions", "\u202e", "}"]

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
JUNK: list[Any] = [
    None, True, 0, -1, 1.5, 1e308, float("nan"), float("-inf"), 10**40, "", "gpt2", "NaN", [], {}, [[]], {"node": 1},
    ["gpt2", None, 3], {"edge-1": "gpt2"}, "edge-1", {"model": "blip"}, "\ud83d", "a" * 300,
]  # fmt: skip


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


def spoil_value(value: Any, rng: random.Random) -> Any:
    """The value with one part, somewhere inside, swapped for junk, doubled, renamed or dropped."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        how = rng.randrange(4)
        if how == 0:
            return {k: v for k, v in value.items() if k != key}
        if how == 1:
            return {(k + "_x" if k == key else k): v for k, v in value.items()}
        return value | {key: spoil_value(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        part = [] if rng.random() < 0.2 else [spoil_value(value[at], rng)]
        return value[:at] + part * rng.choice((1, 1, 2)) + value[at + 1 :]
    return rng.choice([*JUNK, *WORDS])


def spoil_text(text: str, rng: random.Random) -> str:
    """The text cut, flipped, doubled, or with marks put in or left out."""
    how = rng.randrange(7)
    at, to = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
    flipped = chr((ord(text[at]) ^ (1 << rng.randrange(8))) or 1) if at < len(text) else text
    head, tail = rng.choice(("```json\n", "<think>", "Sure: ", "{", "[")), rng.choice(("\n```", "", "}", " {}", '"'))
    mark = rng.choice("{}[]\",:\\'`\n\x00\u202e-0eNaN ")
    return [
        text[:at],
        text[:at] + mark + text[at:],
        text[:at] + text[at + 1 :],
        text[:at] + text[to:],
        text[:to] + text[at:],
        text[:at] + flipped + text[at + 1 :],
        head + text + tail,
    ][how]


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
