"""Intents from a YAML file, and `edgewise intents check`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from edgewise.control.intent_entries import Fault, Known, Moment, intent_of, intents_of
from edgewise.control.intent_words import words
from edgewise.domain.codec import to_plain
from edgewise.domain.errors import BadInput
from edgewise.domain.intent import Intent
from evals.yaml_places import line, parse, read_text, without_empty

WHAT = "intents"


def moment_now(at_s: float = 0.0) -> Moment:
    """What the local clock shows, at a second of the run."""
    return Moment(at_s, datetime.now().astimezone())


def read_intents(path: Path, known: Known) -> tuple[Intent, ...]:
    """The intents of a file. Raises BadInput with file and line."""
    root, plain = parse(read_text(path, WHAT), path, WHAT, "see docs/reference/intents.md")
    try:
        return intents_of(without_empty(plain), known)
    except Fault as fault:
        raise BadInput(fault.message, where=line(root, fault.loc, path), hint=fault.hint) from fault


def intent_of_request(plain: Any, known: Known, intent_id: str, where: str) -> Intent:
    """The intent of a request's body. Raises BadInput with the place in it."""
    try:
        return intent_of(without_empty(plain), known, intent_id)
    except Fault as fault:
        place = ".".join(str(p) for p in fault.loc)
        message = f"{place}: {fault.message}" if place else fault.message
        raise BadInput(message, where=where, hint=fault.hint) from fault


def check_intents(path: Path, scenario: str | None) -> tuple[tuple[Intent, ...], Moment]:
    """The intents of a file for a scenario's nodes and models (None: the demo's), as if a run began now."""
    models, nodes = _names(scenario)
    moment = moment_now()
    return read_intents(path, Known(models, nodes, moment)), moment


def print_intents(intents: Sequence[Intent], moment: Moment) -> None:
    for intent in intents:
        click.echo(f"{intent.id}: {words(intent, moment)}")


def as_documents(intents: Sequence[Intent], moment: Moment) -> list[dict[str, Any]]:
    """For --json: each intent in the published form, and in words."""
    return [{"intent": to_plain(i), "words": words(i, moment)} for i in intents]


def _names(scenario: str | None) -> tuple[list[str], list[str]]:
    if scenario is not None:
        from evals.scenario_file import load_scenario

        found = load_scenario(scenario)
        return [m.id for m in found.models], [n.id for n in found.nodes]
    from edgewise.compose.demo_world import make_world
    from edgewise.compose.options import DemoOptions
    from serving.checkpoints import TINY, catalogue

    world = make_world(DemoOptions(), catalogue(TINY), 1.0)
    return [m.id for m in world.models], [n.id for n in world.nodes]
