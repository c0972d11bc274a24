"""The ladder on answers as models give them, case by case."""

from __future__ import annotations

import json
import time

import pytest

from agents.answer import Names, PlannerAnswer, answer_schema
from agents.extract import fragments
from agents.ladder import MAX_TEXT_CHARS, read_answer
from agents.names import nearest
from edgewise.domain.decision import Rung

NAMES = Names(("edge-1", "edge-2", "edge-11"), ("gpt2", "gpt2-large", "blip", "stable-diffusion"))
GOOD = {
    "replicas": [{"node": "edge-1", "models": ["gpt2", "blip"]}, {"node": "edge-2", "models": ["stable-diffusion"]}],
    "roles": [{"node": "edge-1", "role": "text"}],
    "alpha": 1.5,
    "expires_slots": 10,
    "reason": "images were starved",
}
TEXT = json.dumps(GOOD)
PAIRS = [("edge-1", "blip"), ("edge-1", "gpt2"), ("edge-2", "stable-diffusion")]


def pairs(text: str, finish_reason: str = "stop") -> list[tuple[str, str]] | None:
    answer = read_answer(text, NAMES, finish_reason).answer
    return None if answer is None else answer.pairs()


def with_fields(**fields: object) -> str:
    return json.dumps(GOOD | fields)


@pytest.mark.parametrize("text", [TEXT, f"\n  {TEXT}\n", json.dumps(GOOD, indent=2), with_fields(alpha=None)])
def test_a_valid_answer_is_taken_as_it_came(text: str) -> None:
    reading = read_answer(text, NAMES)
    assert reading.rung is Rung.LLM
    assert reading.notes == ()
    assert pairs(text) == PAIRS


def test_defaults_may_be_left_out() -> None:
    reading = read_answer(json.dumps({"replicas": GOOD["replicas"]}), NAMES)
    assert reading.rung is Rung.LLM
    assert reading.answer is not None
    assert (reading.answer.alpha, reading.answer.expires_slots) == (None, None)


@pytest.mark.parametrize(
    "text",
    [
        f"Here is the {{plan}} for [you]:\n{TEXT}\nGood luck!",
        f"```json\n{TEXT}\n```",
        f"```\n{TEXT}",
        f'<think>perhaps {{"replicas": [{{"node": "edge-2", "models": ["blip"]}}]}}</think>\n{TEXT}',
        f"\ufeff{TEXT}",
        TEXT.replace("]}", ",]}").replace("}]", "},]"),
        TEXT.replace('"', "'"),
        TEXT.replace(", ", "\n"),  # commas forgotten
        TEXT[:-1],  # last brace forgotten
        json.dumps({"plan": GOOD}),
        json.dumps({"Replicas ": GOOD["replicas"], "Alpha": 1}),
        json.dumps(GOOD["replicas"]),
        json.dumps({"replicas": {"edge-1": ["gpt2", "blip"], "edge-2": "stable-diffusion"}}),
        json.dumps({"replicas": [{"node": n, "model": m} for n, m in PAIRS]}),
        json.dumps({"replicas": {"edge-1": "gpt2, blip", "edge-2": ["stable-diffusion"]}}),
        json.dumps({"replicas": {"edge-1": {"gpt2": 0.5, "blip": "0.5"}, "edge-2": [{"model": "stable-diffusion"}]}}),
        with_fields(alpha="much", expires_slots=[], reason=7, roles="none", extra=1),
        TEXT + TEXT,
        '{"thought": "let me see"}' + TEXT,
        '{"replicas": [], ' + TEXT[1:],  # duplicate key: the last one counts, as in every JSON parser
        with_fields(replicas={"EDGE_1": ["GPT-2", "Blip"], "edge 2": ["stable-difusion"]}),
    ],
)
def test_a_clear_but_imperfect_answer_is_repaired(text: str) -> None:
    reading = read_answer(text, NAMES)
    assert reading.rung is Rung.LLM_REPAIRED, reading.reason
    assert pairs(text) == PAIRS


@pytest.mark.parametrize("alpha", ["NaN", "-1", "1e999", "Infinity", "-Infinity", "11", '"abc"', "true", "[1]", "{}"])
def test_a_weight_that_is_none_is_dropped_and_said(alpha: str) -> None:
    reading = read_answer(TEXT.replace("1.5", alpha), NAMES)
    assert reading.rung is Rung.LLM_REPAIRED
    assert reading.answer is not None
    assert reading.answer.alpha is None
    assert any("alpha" in n for n in reading.notes)
    assert reading.answer.pairs() == PAIRS


@pytest.mark.parametrize(("weight", "kept"), [(0.4, True), (0, False), (-0.1, False), (1.1, False), ("x", False)])
def test_models_with_weights_are_kept_when_the_weight_is_one(weight: object, kept: bool) -> None:
    text = json.dumps({"replicas": {"edge-1": {"gpt2": weight, "blip": 1}}})
    assert pairs(text) == ([("edge-1", "blip"), ("edge-1", "gpt2")] if kept else [("edge-1", "blip")])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("I'm sorry, I can't help with that.", "no JSON"),
        ("{}", "no object with"),
        ("[]", "no object with"),
        ("null", "no JSON"),
        ("42", "no JSON"),
        ('"just a string"', "no JSON"),
        ('{"replicas": []}', "no known node"),
        ('{"replicas": null}', "no known node"),
        ('{"replicas": 3.5}', "no known node"),
        ('{"replicas": [{"node": "edge-1", "models": []}]}', "no known node"),
        ('{"replicas": [{"node": "mars", "models": ["gpt2"]}]}', "unknown node 'mars'"),
        ('{"replicas": [{"node": "edge-1", "models": ["skynet"]}]}', "unknown model 'skynet'"),
        ('{"replicas": [{"node": {"a": 1}, "models": [null, 7]}]}', "no known node"),
        ("[" * 5000, "nested too deeply"),
        ('{"a":' * 2000, "nested too deeply"),
        (TEXT + " " * MAX_TEXT_CHARS, "longer than"),
    ],
)
def test_what_cannot_be_used_says_why(text: str, reason: str) -> None:
    reading = read_answer(text, NAMES)
    assert reading.answer is None
    assert reading.rung is None
    assert reason in reading.reason


def test_a_cut_within_the_placement_is_not_half_a_placement() -> None:
    for end in range(1, TEXT.index('"roles"') - 2):
        assert pairs(TEXT[:end], "length") is None, TEXT[:end]


def test_a_cut_behind_the_placement_keeps_it() -> None:
    for end in range(TEXT.index('"roles"') + 12, len(TEXT)):
        assert pairs(TEXT[:end], "length") == PAIRS, TEXT[:end]


def test_of_two_different_plans_the_last_counts_and_it_is_said() -> None:
    other = json.dumps({"replicas": [{"node": "edge-2", "models": ["blip"]}]})
    reading = read_answer(f"{other}\nNo, better:\n{TEXT}", NAMES)
    assert reading.answer is not None
    assert reading.answer.pairs() == PAIRS
    assert "2 different answers" in reading.notes[0]


def test_unknown_names_are_dropped_and_said() -> None:
    extra = [{"node": "edge-7", "models": ["gpt2"]}, {"node": "edge-2", "models": ["gpt2-xl", "blip"]}]
    reading = read_answer(with_fields(replicas=extra), NAMES)
    assert reading.answer is not None
    assert reading.answer.pairs() == [("edge-2", "blip")]
    assert {"unknown node 'edge-7' dropped", "unknown model 'gpt2-xl' dropped"} <= set(reading.notes)


def test_floors_and_pins_are_read_and_what_does_not_fit_is_said() -> None:
    fine = with_fields(floors=[{"model": "gpt2", "share": 0.2}], pins=[{"node": "edge-1", "model": "blip"}])
    reading = read_answer(fine, NAMES)
    assert reading.rung is Rung.LLM
    assert reading.answer is not None
    assert [(f.model, f.share) for f in reading.answer.floors] == [("gpt2", 0.2)]
    assert [(p.node, p.model) for p in reading.answer.pins] == [("edge-1", "blip")]
    odd = with_fields(floors={"gpt2": "0.1", "blip": 3, "skynet": 0.1}, pins={"edge-1": ["gpt2", "gpt2-large"]})
    reading = read_answer(odd, NAMES)
    assert reading.rung is Rung.LLM_REPAIRED
    assert reading.answer is not None
    assert [(f.model, f.share) for f in reading.answer.floors] == [("gpt2", 0.1)]
    assert [(p.node, p.model) for p in reading.answer.pins] == [("edge-1", "gpt2")]
    assert "pin of gpt2-large on edge-1 dropped: it is not in the placement" in reading.notes
    assert any("a floor '3' is not a number from 0 to 1" in n for n in reading.notes)


def test_words_are_printable_and_bounded() -> None:
    text = with_fields(reason="a\u0000b\u202e" + "x" * 5000, roles=[{"node": "edge-1", "role": "r\n" * 500}], odd=1)
    answer = read_answer(text, NAMES).answer
    assert answer is not None
    assert answer.reason.isprintable()
    assert len(answer.reason) <= 600
    assert len(answer.roles[0].role) <= 40


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("edge-1", ("edge-1", "edge-2"), "edge-1"),
        ("Edge_1", ("edge-1", "edge-2"), "edge-1"),
        ("egde-1", ("edge-1", "edge-2"), "edge-1"),
        ("edge-9", ("edge-1",), None),  # another number is another node
        ("edge", ("edge-1", "edge-2"), None),
        ("node-a", ("node-b", "node-c"), None),  # as near to both
        ("edge-1", ("EDGE-1", "edge_1"), None),
        ("stable difusion", ("stable-diffusion", "blip"), "stable-diffusion"),
        ("", ("edge-1",), None),
        ("x" * 100_000, ("edge-1",), None),
    ],
)
def test_the_nearest_name_only_when_unambiguous(name: str, known: tuple[str, ...], meant: str | None) -> None:
    assert nearest(name, known) == meant


def test_the_schema_asked_for_is_the_one_that_is_read() -> None:
    schema = answer_schema(NAMES)
    assert list(schema["properties"]) == list(PlannerAnswer.model_fields) == schema["required"]  # type: ignore[call-overload]
    assert schema["properties"]["replicas"]["items"]["properties"]["node"]["enum"] == list(NAMES.nodes)  # type: ignore[index]


@pytest.mark.parametrize(
    "part", ["{", "[", '{"', '{"a":', '{"}"', '{"}"]', "}{", "][", '"', "\\", "'", "```", "{]", '{"a":[{']
)
def test_hostile_repetition_takes_no_time(part: str) -> None:
    text = (part * MAX_TEXT_CHARS)[:MAX_TEXT_CHARS]
    began = time.process_time()
    assert pairs(text) is None
    assert time.process_time() - began < 2.0


def test_fragments_are_the_top_level_values() -> None:
    found = fragments('a {"x": "}"} b [1, {"y": 2}] { {"z": 3} [')
    assert [(f.text, f.closed) for f in found] == [
        ('{"x": "}"}', True),
        ('[1, {"y": 2}]', True),
        ('{ {"z": 3} [', False),
        ('{"z": 3}', True),
    ]
