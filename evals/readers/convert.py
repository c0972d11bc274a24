"""A public trace into ours. The file is read twice: once to check every row and learn how far out of order rows are,
once to write them. So a bad row is found before anything is written, and no more rows are held than are out of order.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path

from edgewise.domain.errors import BadInput
from evals.readers.records import NS, Dropped, Format, Item
from evals.readers.registry import detect, format_named
from evals.traces import ModelClass, TraceRow, write_trace


@dataclass(frozen=True, slots=True)
class Survey:
    """What one reading of a file found. requests: rows kept; first_ns, last_ns: on the file's clock. out_of_order:
    rows earlier than one above them; late_ns: by how much at most. dropped, remarks, unknown: counts by what."""

    path: Path
    format: Format
    model_class: ModelClass | None
    requests: int
    first_ns: int
    last_ns: int
    out_of_order: int
    late_ns: int
    dropped: dict[str, int] = field(default_factory=dict)
    remarks: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was written. rows: of the trace; starts_at: the moment of the original that is second 0."""

    survey: Survey
    out: Path
    rows: int
    starts_at: str


def survey(path: Path, format_name: str | None = None, model_class: ModelClass | None = None) -> Survey:
    """Read the whole file once. format_name None: by its header. Raises BadInput (where = file:line)."""
    if not path.is_file():
        what = "not a file" if path.exists() else "no such file"
        raise BadInput(what, where=str(path), hint="name a trace file")
    known = detect(path) if format_name is None else format_named(format_name)
    dropped, remarks, unknown = Counter[str](), Counter[str](), Counter[str]()
    requests = out_of_order = late_ns = 0
    first_ns = newest_ns = None
    for item in known.read(path, model_class):
        if isinstance(item, Dropped):
            dropped[item.reason] += 1
            continue
        requests += 1
        remarks.update(item.remarks)
        unknown["input_tokens"] += item.input_tokens is None
        unknown["output_tokens"] += item.output_tokens is None
        unknown["images"] += item.images is None
        if first_ns is None or newest_ns is None:
            first_ns = newest_ns = item.at_ns
        elif item.at_ns < newest_ns:
            out_of_order += 1
            late_ns = max(late_ns, newest_ns - item.at_ns)
            first_ns = min(first_ns, item.at_ns)
        else:
            newest_ns = item.at_ns
    if first_ns is None or newest_ns is None:
        left = f" ({sum(dropped.values())} left out)" if dropped else ""
        raise BadInput(f"no requests in the file{left}", where=str(path), hint="is it the whole file?")
    counts = (dict(dropped), dict(remarks), {k: n for k, n in unknown.items() if n})
    return Survey(path, known, model_class, requests, first_ns, newest_ns, out_of_order, late_ns, *counts)


def iter_public(found: Survey, start_s: float = 0.0, until_s: float = math.inf) -> Iterator[TraceRow]:
    """The rows of a surveyed file in order of time, those that tie as in the file; times count from `start_s` after
    its first request. `line` is the original's."""
    source = found.format.source(found.path)
    start_ns = found.first_ns + round(start_s * NS)
    end_ns = math.inf if math.isinf(until_s) else found.first_ns + round(until_s * NS)
    items = (i for i in found.format.read(found.path, found.model_class) if not isinstance(i, Dropped))
    for at_ns, line, kind, tokens_in, tokens_out, images, extra, _ in in_order(items, found.late_ns):
        if at_ns >= end_ns:
            break
        if at_ns >= start_ns:
            at_s = (at_ns - start_ns) / NS
            yield TraceRow(at_s, kind, source, tokens_in, tokens_out, images, extra, line=line)


def in_order(items: Iterable[Item], late_ns: int) -> Iterator[Item]:
    """Items sorted by time (a stable sort), given that none is more than `late_ns` earlier than one above it."""
    if not late_ns:
        yield from items
        return
    waiting: list[tuple[int, int, Item]] = []
    newest_ns: int | None = None
    for number, item in enumerate(items):
        newest_ns = item.at_ns if newest_ns is None else max(newest_ns, item.at_ns)
        heappush(waiting, (item.at_ns, number, item))
        while waiting[0][0] < newest_ns - late_ns:
            yield heappop(waiting)[2]
    while waiting:
        yield heappop(waiting)[2]


def convert(
    path: Path,
    out: Path,
    *,
    format_name: str | None = None,
    model_class: ModelClass | None = None,
    start_s: float = 0.0,
    until_s: float = math.inf,
) -> Conversion:
    """Write the requests of `path` in [start_s, until_s) after its first one to `out` (.csv or .csv.gz).

    Raises BadInput for a bad row, a window without requests, a bad `out`. Nothing is written then.
    """
    check_out(out, path)
    if not (0 <= start_s < until_s):
        raise BadInput(f"no time between {start_s:g} s and {until_s:g} s", hint="give 0 ≤ start < until")
    found = survey(path, format_name, model_class)
    rows = iter_public(found, start_s, until_s)
    first = next(rows, None)
    if first is None:
        span_s = (found.last_ns - found.first_ns) / NS
        what = f"no requests from {start_s:g} s to {until_s:g} s"
        raise BadInput(what, where=str(path), hint=f"the file spans {span_s:g} s")
    count = write_trace(out, _with(first, rows))
    return Conversion(found, out, count, found.format.moment(found.first_ns + round(start_s * NS)))


def check_out(out: Path, source: Path) -> None:
    """Raises BadInput for a name that could not be read back, a folder that is not there, the source itself."""
    if not out.name.endswith((".csv", ".csv.gz")):
        raise BadInput("a trace is a .csv or .csv.gz file", where=str(out), hint="give --out such a name")
    if not out.parent.is_dir():
        raise BadInput("there is no such folder", where=str(out.parent), hint="make it first")
    if out.exists() and source.exists() and out.samefile(source):
        raise BadInput("the trace would replace the file it is made of", where=str(out), hint="give another --out")


def _with(first: TraceRow, rest: Iterator[TraceRow]) -> Iterator[TraceRow]:
    yield first
    yield from rest
