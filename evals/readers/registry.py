"""Which public formats there are, and which one a file is in."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher
from itertools import islice
from pathlib import Path

import orjson

from edgewise.domain.errors import BadInput
from evals.readers import alibaba, azure, burstgpt, mooncake
from evals.readers.lines import text_lines
from evals.readers.records import Format
from evals.traces import COLUMNS, nearest

FORMATS: tuple[Format, ...] = (*azure.FORMATS, *burstgpt.FORMATS, *mooncake.FORMATS, *alibaba.FORMATS)
NAMES: tuple[str, ...] = tuple(f.name for f in FORMATS)
LIKELY = 0.6  # a format whose names are less like a file's than this is not worth suggesting


def format_named(name: str) -> Format:
    """Raises BadInput with the nearest name."""
    for known in FORMATS:
        if known.name == name:
            return known
    raise BadInput(f"unknown trace format {name!r}", hint=nearest(name, NAMES))


def detect(path: Path) -> Format:
    """The format of a file, by its header (or first object) and, where two share one, its first row.

    Raises BadInput naming the nearest known format and what of it is not there.
    """
    lines = list(islice(text_lines(path), 2))
    if not lines:
        raise BadInput("the file is empty", where=f"{path}:1", hint=f"known formats: {', '.join(NAMES)}")
    layout = "jsonl" if lines[0].lstrip().startswith("{") else "csv"
    first = _object(lines[0], path) if layout == "jsonl" else _row(lines, path)
    if set(COLUMNS) <= first.keys():
        raise BadInput("this is an edgewise trace already", where=f"{path}:1", hint="use it as it is")
    fitting = [f for f in FORMATS if f.layout == layout and set(f.needs) <= first.keys()]
    for known in fitting:
        if known.tells(first):
            return known
    raise _unknown(path, layout, list(first))


def _object(line: str, path: Path) -> Mapping[str, str]:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        hint = "one JSON object per line; was the file cut off?"
        raise BadInput(f"not JSON: {error}", where=f"{path}:1", hint=hint) from error
    return {key: str(value) for key, value in found.items()}


def _row(lines: list[str], path: Path) -> Mapping[str, str]:
    """The first row by column; cells that are not there are empty. Its faults are found when it is read."""
    try:
        names, *rest = (next(csv.reader([line]), []) for line in lines)
    except csv.Error as error:
        raise BadInput(f"not a CSV header: {error}", where=f"{path}:1", hint=f"known: {', '.join(NAMES)}") from error
    cells = [*(rest[0] if rest else []), *("" for _ in names)]
    return {name.strip(): cell for name, cell in zip(names, cells, strict=False)}


def _unknown(path: Path, layout: str, names: list[str]) -> BadInput:
    scores = [(_likeness(f.needs, names), f) for f in FORMATS if f.layout == layout]
    score, near = max(scores, key=lambda pair: pair[0])
    said = ", ".join(names[:12])[:200]
    what = f"not a known trace format; its {'columns' if layout == 'csv' else 'keys'}: {said}"
    if score < LIKELY:
        return BadInput(what, where=f"{path}:1", hint=f"known formats: {', '.join(NAMES)}")
    absent = ", ".join(repr(name) for name in near.needs if name not in names)
    hint = f"nearest is {near.name} ({near.dataset}), which also needs {absent}"
    return BadInput(what, where=f"{path}:1", hint=hint)


def _likeness(needs: Iterable[str], names: list[str]) -> float:
    """0 to 1: how well each needed name is matched by one of a file's."""
    best = [
        max((SequenceMatcher(None, need.lower(), name.lower()).ratio() for name in names), default=0.0)
        for need in needs
    ]
    return sum(best) / len(best)
