"""Whatever a public trace holds: no row is lost, rows are sorted stably, and writing them loses nothing."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.readers.convert import iter_public, survey
from evals.traces import read_trace, write_trace

NS = 10**9
BASE = datetime(2024, 3, 31, tzinfo=UTC)  # European clocks change in this night


class Ask(NamedTuple):
    ns: int  # from the file's own zero
    tokens_in: int
    tokens_out: int


def _azure2023(asks: list[Ask]) -> str:
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for ns, tokens_in, tokens_out in asks:
        whole = BASE + timedelta(seconds=ns // NS)
        lines.append(f"{whole:%Y-%m-%d %H:%M:%S}.{ns % NS // 100:07d},{tokens_in},{tokens_out}")
    return "\n".join(lines)


def _azure2024(asks: list[Ask]) -> str:
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for i, (ns, tokens_in, tokens_out) in enumerate(asks):
        zone = timezone(timedelta(minutes=30 * (i % 5 - 2)))  # rows in different zones
        moment = (BASE + timedelta(seconds=ns // NS, microseconds=ns % NS // 1000)).astimezone(zone)
        lines.append(f"{moment.isoformat(sep=' ')},{tokens_in},{tokens_out}")
    return "\n".join(lines)


def _burstgpt(asks: list[Ask]) -> str:
    lines = ["Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"]
    lines += [f"{ns // NS}.0,GPT-4,{i},{o},{i + o},API log" for ns, i, o in asks]
    return "\n".join(lines)


def _mooncake(asks: list[Ask]) -> str:
    return "\n".join(
        json.dumps({"timestamp": ns // 10**6, "input_length": i, "output_length": o, "hash_ids": [0, i]})
        for ns, i, o in asks
    )


class Source(NamedTuple):
    file: str
    make: Callable[[list[Ask]], str]
    tick_ns: int  # what its clock resolves


SOURCES = (
    Source("a_conv.csv", _azure2023, 100),
    Source("b_code.csv", _azure2024, 1000),
    Source("BurstGPT_1.csv", _burstgpt, NS),
    Source("conversation.jsonl", _mooncake, 10**6),
)
times = st.one_of(st.integers(0, 30 * 3600 * NS), st.integers(0, 5).map(lambda s: s * NS))
asks = st.lists(st.builds(Ask, times, st.integers(1, 10**6), st.integers(1, 10**6)), min_size=1, max_size=30)


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.make.__name__)
@settings(max_examples=60, deadline=None)
@given(asks, st.booleans(), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_rows_are_sorted_stably_and_survive_writing(
    source: Source, some: list[Ask], packed: bool, end: str, bom: bool
) -> None:
    ticks = [ask._replace(ns=ask.ns - ask.ns % source.tick_ns) for ask in some]
    text = ("\ufeff" if bom else "") + source.make(ticks).replace("\n", end) + end
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / source.file
        path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
        found = survey(path)
        rows = list(iter_public(found))
        out = Path(folder) / ("t.csv.gz" if packed else "t.csv")
        assert write_trace(out, rows) == len(rows) == found.requests
        again = read_trace(out)

    ordered = sorted(ticks, key=lambda ask: ask.ns)  # stable: the oracle
    assert [(r.input_tokens, r.output_tokens) for r in rows] == [(a.tokens_in, a.tokens_out) for a in ordered]
    assert [r.timestamp_s for r in rows] == [(a.ns - ordered[0].ns) / NS for a in ordered]
    assert rows[0].timestamp_s == 0.0
    assert [replace(r, line=0) for r in again] == [replace(r, line=0) for r in rows]
    late = sum(ask.ns < max(a.ns for a in ticks[: i + 1]) for i, ask in enumerate(ticks))
    assert found.out_of_order == late
