"""BurstGPT: requests to ChatGPT (GPT-3.5) and GPT-4, served by Azure, over months.

Where: github.com/HPMLL/BurstGPT, releases: BurstGPT_{1,2,3}.csv, and BurstGPT_without_fails_{1,2,3}.csv without the
failures. 1.4, 3.9 and 5.3 million rows. Licence CC-BY-4.0; paper: KDD 2025, doi 10.1145/3711896.3737413.

Columns: Timestamp, Model, Request tokens, Response tokens, Total tokens, Log Type; the third file has Session ID and
Elapsed time between the first two, so columns are found by name. Traps:
* Timestamp is seconds from 0:00 of the first day of the first file, local time, as 5 or 19440110.0; the third file
  starts at day 225. Resolution is a second: arrivals come in steps.
* Zero response tokens mean that the request failed. It was demand all the same: it stays, with its answer's size
  unknown (not 0, which would be a prompt that costs nothing) and `failed` in extra_json. For a trace without
  failures take the files without them. Zero request tokens are a size that was not logged: unknown.
* Session ID is there for conversations only, empty for API calls; it becomes `client`, who enters at one node.
* Elapsed time is the whole answer of the original service, not a service time here; kept as elapsed_s.
* Total tokens is not used; rows in which it is not the sum are counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from evals.readers.lines import csv_records
from evals.readers.records import NS, Dropped, Format, Item, Record
from evals.traces import ModelClass, nearest

NEEDS = ("Timestamp", "Model", "Request tokens", "Response tokens", "Total tokens", "Log Type")
CLASSES = {"ChatGPT": ModelClass.TEXT_SMALL, "GPT-4": ModelClass.TEXT_LARGE}


def read(path: Path, model_class: ModelClass | None) -> Iterator[Item | Dropped]:
    for record in csv_records(path, NEEDS):
        yield record if isinstance(record, Dropped) else _item(record, model_class)


def _item(record: Record, model_class: ModelClass | None) -> Item:
    at_ns = record.seconds("Timestamp")
    if at_ns is None:
        record.bad("Timestamp", "is empty", "give seconds from the first day's midnight")
    model = record.text("Model") or ""
    kind = model_class or CLASSES.get(model)
    if kind is None:
        record.bad("Model", f"unknown model {model!r}", f"{nearest(model, CLASSES)}; or give --model-class")
    asked, answered, total = (record.whole(f"{c} tokens") for c in ("Request", "Response", "Total"))
    remarks = []
    if answered == 0:
        remarks.append("failed (zero response tokens)")
    if asked == 0:
        remarks.append("zero request tokens")
    if None not in (asked, answered, total) and (asked or 0) + (answered or 0) != total:
        remarks.append("total is not the sum")
    extra = orjson.dumps(_extra(record, failed=answered == 0)).decode()
    return Item(at_ns, record.line, kind, asked or None, answered or None, 0, extra, tuple(remarks))


def _extra(record: Record, failed: bool) -> dict[str, Any]:
    elapsed_ns = record.seconds("Elapsed time")
    found = {
        "log": (record.text("Log Type") or "").removesuffix(" log").lower() or None,
        "client": record.text("Session ID"),
        "elapsed_s": None if elapsed_ns is None else elapsed_ns / NS,
        "failed": failed or None,
    }
    return {key: value for key, value in found.items() if value is not None}


FORMATS = (
    Format(
        "burstgpt",
        "BurstGPT",
        "github.com/HPMLL/BurstGPT, releases",
        "csv",
        NEEDS,
        read,
        lambda path: "burstgpt",
        since_1970=False,
        notes=("times have a resolution of one second",),
    ),
)
