"""Thousands of mutated answers through ladder and guard: no exception, and nothing that may not be carried out."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest

from agents.briefing import allowed_names
from agents.ladder import read_answer
from agents.planner import to_plan
from edgewise.control.guard import project, violations
from edgewise.domain.cluster import ReplicaState
from tests.support.control_world import observe, plan_of, ready, seven, short_settings
from tests.support.spoil import flip_byte, spoil_text, spoil_value

SETTINGS = short_settings()
INCUMBENT = plan_of([(f"edge-{i}", m) for i in range(1, 8) for m in ("gpt2", "blip")] + [("edge-2", "gpt2-large")])
STATES = ready(INCUMBENT) | {("edge-5", "gpt2-large"): ReplicaState.LOADING, ("edge-6", "blip"): ReplicaState.FAILED}
SEEN = observe(seven(), at_s=40.0, states=STATES, dead=("edge-7",), settings=SETTINGS)
NAMES = allowed_names(SEEN)


def valid(rng: random.Random) -> dict[str, Any]:
    """A plan of the schema, feasible or not."""
    replicas = [{"node": n, "models": rng.sample(NAMES.models, rng.randrange(5))} for n in NAMES.nodes]
    return {
        "replicas": replicas,
        "roles": [{"node": rng.choice(NAMES.nodes), "role": "text"}],
        "alpha": rng.choice([None, 0.5, 10.0]),
        "expires_slots": rng.choice([None, 3]),
        "floors": [{"model": rng.choice(NAMES.models), "share": 0.1}],
        "pins": [{"node": e["node"], "model": m} for e in replicas[:2] for m in e["models"][:1]],
        "reason": "because",
    }


def mutated(rng: random.Random) -> str:
    """A valid answer after one to four mutations: cut, bytes flipped, types swapped."""
    value: Any = valid(rng)
    for _ in range(rng.randrange(3)):
        value = spoil_value(value, rng)
    text = json.dumps(value)
    for _ in range(rng.randrange(1, 3)):
        how = rng.randrange(3)
        if how == 0:
            text = flip_byte(text, rng)
        elif how == 1:
            text = text[: rng.randrange(len(text) + 1)]
        else:
            text = spoil_text(text, rng) if text else "{"
    return text


def check(count: int, seed: int) -> Counter[str]:
    rng, seen = random.Random(seed), Counter[str]()
    for _ in range(count):
        reading = read_answer(mutated(rng), NAMES, rng.choice(["stop", "length", ""]))
        seen[str(reading.rung)] += 1
        if reading.answer is None:
            assert reading.reason
            continue
        plan = to_plan(reading.answer, "p", SEEN, SETTINGS)
        done = project(plan, SEEN, rng.choice([INCUMBENT, None]), SETTINGS)
        assert violations(done.plan, SEEN, SETTINGS) == ()
        assert {(p.node, p.model) for p in plan.pins} <= {(r.node, r.model) for r in plan.replicas}
        assert all(0 <= f.share <= 1 for f in plan.floors)
    return seen


def test_two_thousand_mutated_answers_never_raise_and_never_break_the_rules() -> None:
    seen = check(2_000, 1)
    assert min(seen["None"], seen["llm-repaired"]) > 500, seen  # or the mutations test nothing


@pytest.mark.slow
def test_twenty_thousand_mutated_answers() -> None:
    check(20_000, 2)
