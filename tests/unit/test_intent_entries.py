"""Intents from plain data and files: every mistake is said with its place and the nearest name."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edgewise.compose.intents import read_intents
from edgewise.control.intent_book import DRAFT_S, MOST_DRAFTS, Book, Draft, UnknownIntent
from edgewise.control.intent_entries import Fault, Known, Moment, intent_of, intents_of
from edgewise.control.intent_words import words
from edgewise.domain.errors import BadInput, Refused
from edgewise.domain.intent import Intent
from evals.scenario_file import load_scenario, parse_scenario, to_yaml

MOMENT = Moment(100.0, datetime(2026, 3, 1, 18, 30, tzinfo=UTC))
KNOWN = Known(["gpt2", "blip"], ["edge-1", "edge-2"], MOMENT)
PIN = {"pins": [{"node": "edge-1", "model": "gpt2"}]}


def one(**keys: Any) -> Intent:
    return intent_of(keys or PIN, KNOWN, "x")


@pytest.mark.parametrize(
    ("said", "at_s"),
    [
        (40, 40.0),
        ("19:00", 100 + 1800.0),
        ("18:00", 100 + 23.5 * 3600),  # gone by today
        ("18:30", 100.0),
        ("2026-03-01T18:31", 160.0),
        ("2026-03-01T19:31:00+01:00", 160.0),
        ("2026-02-28T00:00", 0.0),
    ],
)
def test_times_of_day_and_dates(said: Any, at_s: float) -> None:
    assert one(**PIN, **{"from": said}).from_s == at_s


def test_without_a_beginning_it_counts_from_the_moment_on() -> None:
    assert one(**PIN).from_s == 100.0
    assert intent_of(PIN, Known(["gpt2"], ["edge-1"]), "x").from_s == 0.0


def test_until_is_the_next_such_time_after_from() -> None:
    found = one(**PIN, **{"from": "23:00", "until": "01:00"})
    assert found.until_s == found.from_s + 7200


@pytest.mark.parametrize(
    ("entry", "loc", "says"),
    [
        ({**PIN, "wieghts": []}, ("wieghts",), "'weights'"),
        ({"weights": [{"model": "gpt", "weight": 2}]}, ("weights", 0, "model"), "'gpt2'"),
        ({"pins": [{"node": "edge1", "model": "gpt2"}]}, ("pins", 0, "node"), "'edge-1'"),
        ({"weights": [{"model": "gpt2", "weight": 0}]}, ("weights", 0, "weight"), "above 0"),
        ({"weights": [{"model": "gpt2", "weight": float("nan")}]}, ("weights", 0, "weight"), "above 0"),
        ({"weights": [{"model": "gpt2"}]}, ("weights", 0), "add it"),
        ({"demand": [{"model": "gpt2"}]}, ("demand", 0), "times"),
        ({"demand": [{"model": "gpt2", "times": 2, "rate_per_s": 1}]}, ("demand", 0), "times"),
        ({"floors": [{"model": "gpt2", "share": True}]}, ("floors", 0, "share"), "from 0 to 1"),
        ({"alpha": 11}, ("alpha",), "from 0 to 10"),
        ({"text": "hello"}, (), "give it one"),
        ({**PIN, "from": 10, "until": 10}, ("until",), "after"),
        ({**PIN, "from": 10, "from_s": 10}, ("from",), "one of the two"),
        ({**PIN, "from": "noonish"}, ("from",), "19:00"),
        ({"pins": "edge-1"}, ("pins",), "dash"),
    ],
)
def test_mistakes_have_a_place_and_a_hint(entry: Any, loc: tuple[Any, ...], says: str) -> None:
    with pytest.raises(Fault) as caught:
        intent_of(entry, KNOWN, "x")
    assert caught.value.loc == loc
    assert says in caught.value.hint


def test_ids_are_given_and_must_differ() -> None:
    assert [i.id for i in intents_of([PIN, {**PIN, "id": "mine"}], KNOWN)] == ["intent-1", "mine"]
    with pytest.raises(Fault, match="twice"):
        intents_of([{**PIN, "id": "a"}, {**PIN, "id": "a"}], KNOWN)


def test_a_file_is_read_and_its_mistakes_have_a_line(tmp_path: Path) -> None:
    file = tmp_path / "intents.yaml"
    file.write_text("- from: '19:00'\n  weights:\n    - {model: blip, weight: 3}\n")
    assert read_intents(file, KNOWN)[0].from_s == 1900.0
    file.write_text("- from: '19:00'\n  weights:\n    - {model: blib, weight: 3}\n")
    with pytest.raises(BadInput) as caught:
        read_intents(file, KNOWN)
    assert caught.value.where == f"{file}:3"
    assert "'blip'" in caught.value.hint


def test_words_say_all_of_it() -> None:
    found = one(
        **{"from": "19:00", "until": "23:59"},
        weights=[{"model": "blip", "weight": 3, "access_node": "edge-2"}],
        floors=[{"model": "*", "share": 0.1}],
        pins=PIN["pins"],
        waits=[{"latency_s": 120}],
        demand=[{"model": "gpt2", "times": 4}, {"model": "blip", "rate_per_s": 0.5}],
        alpha=1,
    )
    assert words(found, MOMENT) == (
        "From 19:00 (second 1900 of the run) until 23:59 (second 19840 of the run): "
        "a prompt of blip that enters at edge-2 counts 3 times as usual; "
        "every kind gets at least 10% of a node's time while it has work there; gpt2 stays loaded on edge-1; "
        "no prompt should take longer than 2 min; demand for gpt2 is expected to be 4 times what is usual; "
        "demand for blip is expected to be 0.5 prompts per second; fairness counts with alpha 1."
    )


def test_scenarios_announce_and_say_what_is_wrong() -> None:
    found = load_scenario("announced-flip")
    assert [i.id for i in found.announcements] == ["campaign"]
    text = to_yaml(found)
    assert parse_scenario(text, Path("x.yaml")) == found
    with pytest.raises(BadInput, match="unknown model") as caught:
        parse_scenario(
            text.replace("- model: gpt2-large\n    times", "- model: gpt2-lage\n    times"), Path("x.yaml")
        )
    assert "'gpt2-large'" in caught.value.hint
    with pytest.raises(BadInput, match="unknown key"):
        parse_scenario(text.replace("announcements:", "announcments:"), Path("x.yaml"))
    with pytest.raises(BadInput, match="no clock"):
        parse_scenario(text.replace("from_s: 3540.0", "from: '19:00'"), Path("x.yaml"))


def test_the_book_drafts_confirms_and_withdraws() -> None:
    draft = Draft(one(id="intent-1", from_s=10.5, **PIN), 10.0)
    book = Book().drafted(draft)
    assert book.intents == ()
    assert book.next_id == "intent-2"
    confirmed = book.at(11.0).confirmed("intent-1", 11.0)
    assert (confirmed.intents, confirmed.drafts) == ((replace(draft.intent, from_s=11.0),), ())
    with pytest.raises(UnknownIntent):
        book.at(10.0 + DRAFT_S).confirmed("intent-1", 10.0 + DRAFT_S)
    with pytest.raises(Refused):
        confirmed.added(draft.intent)
    assert confirmed.withdrawn("intent-1").intents == ()
    with pytest.raises(UnknownIntent):
        confirmed.withdrawn("intent-9")


def test_the_book_is_bounded() -> None:
    book = Book()
    for i in range(MOST_DRAFTS + 5):
        book = book.drafted(Draft(one(id=f"d-{i}", **PIN), 0.0))
    assert len(book.drafts) == MOST_DRAFTS
    assert book.drafts[-1].intent.id == f"d-{MOST_DRAFTS + 4}"
