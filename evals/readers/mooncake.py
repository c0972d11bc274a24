"""Mooncake: requests to the language model service Kimi, with the identity of their prefixes.

Where: github.com/kvcache-ai/Mooncake, FAST25-release/traces/{conversation,toolagent,synthetic}_trace.jsonl and
FAST25-release/arxiv-trace/mooncake_trace.jsonl; an hour each. Licence Apache-2.0; paper: FAST 2025.

A JSON object per line: timestamp, input_length, output_length (tokens), hash_ids (ids of its 512-token blocks).
Traps:
* timestamp is in MILLISECONDS from the start.
* Recorded arrivals are quantised: they come in batches about 3 s apart. They stay so; nothing is jittered. Those of
  the synthetic file are a Poisson process, not a recording.
* hash_ids are reduced to their number and to the second one: in the conversations the first is the same for
  (nearly) all, the second tells prefixes apart, so prompts that share one enter at one node. A prompt of a single
  block has no second.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import orjson

from edgewise.domain.errors import BadInput
from evals.readers.lines import json_objects
from evals.readers.records import Dropped, Format, Item
from evals.traces import MAX_COUNT, ModelClass, nearest

NEEDS = ("timestamp", "input_length", "output_length")
NS_PER_MS = 1_000_000
MAX_MS = 10**14
SOURCES = {
    "conversation": "mooncake-fast25-conversation",
    "toolagent": "mooncake-fast25-toolagent",
    "synthetic": "mooncake-fast25-synthetic",
    "mooncake_trace": "mooncake-arxiv",
}


def read(path: Path, model_class: ModelClass | None) -> Iterator[Item | Dropped]:
    for line, found in json_objects(path):
        for key in NEEDS:
            if key not in found:
                _bad(path, line, key, "is missing", f"keys needed: {', '.join(NEEDS)}; {nearest(key, found)}")
        tokens_in, tokens_out = (_count(path, line, key, found[key]) for key in NEEDS[1:])
        remarks = ("zero output tokens",) if tokens_out == 0 else ()
        yield Item(
            _time_ns(path, line, found["timestamp"]),
            line,
            model_class or ModelClass.TEXT_LARGE,
            tokens_in,
            tokens_out,
            0,
            orjson.dumps(_extra(path, line, found.get("hash_ids"))).decode(),
            remarks,
        )


def _time_ns(path: Path, line: int, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        _bad(path, line, "timestamp", f"{value!r} is not a number", "give milliseconds from the start")
    if not 0 <= value <= MAX_MS:
        _bad(path, line, "timestamp", f"{value!r} is not a time", "give milliseconds ≥ 0 from the start")
    return round(value * NS_PER_MS)


def _count(path: Path, line: int, key: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        _bad(path, line, key, f"{value!r} is not a whole number from 0 to {MAX_COUNT}", "null when it is unknown")
    return value


def _extra(path: Path, line: int, ids: Any) -> dict[str, int]:
    if ids is None:
        return {}
    if not isinstance(ids, list) or not all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
        _bad(path, line, "hash_ids", "is not a list of whole numbers", "leave the key out when there are none")
    return {"prefix_blocks512": len(ids)} | ({"first_block": ids[1]} if len(ids) > 1 else {})


def _bad(path: Path, line: int, key: str, what: str, hint: str) -> NoReturn:
    raise BadInput(f"{key}: {what}", where=f"{path}:{line}", hint=hint)


def _source(path: Path) -> str:
    return next((source for part, source in SOURCES.items() if part in path.name.lower()), "mooncake")


FORMATS = (
    Format(
        "mooncake",
        "Mooncake traces",
        "github.com/kvcache-ai/Mooncake, FAST25-release",
        "jsonl",
        NEEDS,
        read,
        _source,
        since_1970=False,
        notes=("recorded arrivals come in batches about 3 s apart",),
    ),
)
