"""Decisions packed once, made again: a change of what edgewise decides shows here, slot and graph node named.

When it is meant to: `python -m tests.support.make_capsules` packs them anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from edgewise.compose.recorded import open_recorded
from edgewise.compose.replay import lines_of, replay

CAPSULES = sorted((Path(__file__).parent / "capsules").glob("*.json.gz"))


def test_there_are_some() -> None:
    assert {p.name for p in CAPSULES} >= {"language-model.json.gz", "shift.json.gz", "node-lost.json.gz"}


@pytest.mark.parametrize("capsule", CAPSULES, ids=lambda p: p.name.split(".")[0])
def test_it_is_decided_as_it_was(capsule: Path) -> None:
    found = replay(open_recorded(capsule))
    assert (found.slots, found.identical) == (1, 1), "\n".join(lines_of(found, capsule.name))
