"""Recorded traces: who asked what, when, and how large. CSV or gzip CSV; times, sizes and classes, never text.

Columns: timestamp_s, model_class, source, input_tokens, output_tokens, images, extra_json, and optionally model and
access_node. Rows are sorted by time; an empty cell means that the source did not say.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from itertools import islice, takewhile
from pathlib import Path
from typing import IO, Any, NoReturn, cast

import orjson

from edgewise.domain.errors import BadInput


class ModelClass(StrEnum):
    """The kind of model a row asks for; traces name no model of ours."""

    TEXT_SMALL = "text-small"
    TEXT_LARGE = "text-large"
    IMAGE_CAPTION = "image-caption"
    IMAGE_GENERATION = "image-generation"


DEFAULT_MODELS: dict[ModelClass, str] = {
    ModelClass.TEXT_SMALL: "gpt2",
    ModelClass.TEXT_LARGE: "gpt2-large",
    ModelClass.IMAGE_CAPTION: "blip",
    ModelClass.IMAGE_GENERATION: "stable-diffusion",
}

COLUMNS = ("timestamp_s", "model_class", "source", "input_tokens", "output_tokens", "images", "extra_json")
OPTIONAL_COLUMNS = ("model", "access_node")
STICKY_KEYS = ("group", "client", "first_block")  # extra_json fields that name who asked, in order of preference
MAX_COUNT = 100_000_000  # a larger count is a slip of the recorder, and would overflow what is made from it
GENERATED = Path(__file__).parent / "data" / "generated.csv.gz"


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One recorded prompt. `timestamp_s` counts from the start of the trace, seconds. None: the source did not say.
    `images` counts inputs of a caption, outputs of a generation. `extra_json` is a JSON object as text.
    `line` is the line of the file, for messages (0: made in memory)."""

    timestamp_s: float
    model_class: ModelClass
    source: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    images: int | None = None
    extra_json: str = "{}"
    model: str | None = None
    access_node: str | None = None
    line: int = 0

    @property
    def extra(self) -> dict[str, Any]:
        """What the source says beyond the columns: steps, client, group, tokens_per_image and the like."""
        loaded: dict[str, Any] = orjson.loads(self.extra_json)
        return loaded

    @property
    def sticky_key(self) -> str | None:
        """Who asked, where the source says so: its prompts enter at one access node."""
        extra = self.extra
        return next((f"{k}={extra[k]}" for k in STICKY_KEYS if extra.get(k) is not None), None)


def trace_folder() -> Path | None:
    """The folder of recorded traces: EDGEWISE_TRACES, else `shared/traces` beside the checkout, else None.

    Raises BadInput when EDGEWISE_TRACES names no folder: a wrong setting must not silently mean generated data.
    """
    named = os.environ.get("EDGEWISE_TRACES", "")
    if named:
        folder = Path(named).expanduser()
        if not folder.is_dir():
            raise BadInput(f"EDGEWISE_TRACES names no folder: {named}", hint="unset it, or point it at the traces")
        return folder
    for root in (Path(__file__).resolve().parent.parent, Path.cwd().resolve()):
        for folder in (root.parent / "shared" / "traces", root / "shared" / "traces"):
            if folder.is_dir():
                return folder
    return None


def read_trace(
    path: Path,
    *,
    model_class: ModelClass | None = None,
    start_s: float = 0.0,
    until_s: float = math.inf,
    limit: int | None = None,
) -> tuple[TraceRow, ...]:
    """Rows of `path` in [start_s, until_s), of one class when given, at most `limit`; reads no further than needed.

    Raises BadInput (where = file:line) for a malformed row up to there, or a file that cannot be read.
    """
    near = takewhile(lambda r: r.timestamp_s < until_s, iter_trace(path))
    wanted = (r for r in near if r.timestamp_s >= start_s and model_class in (None, r.model_class))
    return tuple(islice(wanted, limit))


def iter_trace(path: Path) -> Iterator[TraceRow]:
    """The rows of a trace, one by one. Raises BadInput naming file, line and column of what is wrong."""
    line = 0
    try:
        with _open(path) as text:
            reader = csv.reader(text, strict=True)
            columns = _header(path, next(reader, None))
            line, last_s, empty = 1, 0.0, True
            for cells in reader:
                line = reader.line_num
                if not cells:
                    continue
                row = _row(path, line, columns, cells, last_s)
                last_s, empty = row.timestamp_s, False
                yield row
            if empty:
                raise BadInput("the trace has a header but no rows", where=f"{path}:1", hint="add at least one row")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        cut = f"not a whole gzip file after line {line}: {error}"
        raise BadInput(cut, where=f"{path}:{line + 1}", hint="copy the file again, it was cut or damaged") from error
    except UnicodeDecodeError as error:
        raise BadInput(
            f"not UTF-8 text (byte {error.object[error.start]:#04x})",
            where=f"{path}:{_undecodable_line(path)}",
            hint="save the trace as UTF-8 CSV",
        ) from error
    except csv.Error as error:
        raise BadInput(f"not a CSV row: {error}", where=f"{path}:{line + 1}", hint="check its quotes") from error
    except OSError as error:
        what = f"cannot read the trace: {error.strerror or error}"
        raise BadInput(what, where=str(path), hint="name a readable CSV or CSV.gz file") from error


def write_trace(path: Path, rows: Iterable[TraceRow]) -> int:
    """Write rows as CSV, gzip when the name ends in .gz; returns their number. Byte-identical for equal rows; the
    file appears whole or not at all.

    Raises BadInput for rows that are not sorted, so that no recorder leaves a trace that cannot be read.
    """
    partial = path.with_name(path.name + ".part")
    count, last_s = 0, 0.0
    try:
        with ExitStack() as stack:
            raw: IO[bytes] = stack.enter_context(partial.open("wb"))
            if path.suffix == ".gz":
                # mtime=0 and no name: the time of writing would make equal traces differ.
                raw = cast(IO[bytes], stack.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0)))
            text = stack.enter_context(io.TextIOWrapper(raw, encoding="utf-8", newline=""))
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow((*COLUMNS, *OPTIONAL_COLUMNS))
            for row in rows:
                if row.timestamp_s < last_s:
                    raise BadInput(f"row {count + 1} is earlier than the one before it", where=str(path))
                last_s, count = row.timestamp_s, count + 1
                counts = ("" if n is None else n for n in (row.input_tokens, row.output_tokens, row.images))
                head = (repr(float(row.timestamp_s)), row.model_class.value, row.source)
                writer.writerow((*head, *counts, row.extra_json, row.model or "", row.access_node or ""))
        partial.replace(path)
    except OSError as error:
        raise BadInput(f"cannot write the trace: {error.strerror or error}", where=str(path)) from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _undecodable_line(path: Path) -> int:
    """The first line that is not UTF-8; text is decoded in chunks, so the reader's own count is behind or ahead."""
    opened = gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # noqa: SIM115 - closed below
    with opened as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def _header(path: Path, cells: list[str] | None) -> dict[str, int]:
    where = f"{path}:1"
    if not cells:
        raise BadInput("the trace is empty", where=where, hint=f"first line: {','.join(COLUMNS)}")
    known = (*COLUMNS, *OPTIONAL_COLUMNS)
    for name in COLUMNS:
        if name not in cells:
            raise BadInput(f"column {name!r} is missing", where=where, hint=f"columns needed: {', '.join(COLUMNS)}")
    for name in cells:
        if name not in known:
            raise BadInput(f"unknown column {name!r}", where=where, hint=nearest(name, known))
        if cells.count(name) > 1:
            raise BadInput(f"column {name!r} is there twice", where=where, hint="remove one")
    return {name: cells.index(name) for name in cells}


def _row(path: Path, line: int, columns: dict[str, int], cells: list[str], last_s: float) -> TraceRow:
    if len(cells) != len(columns):
        _bad(path, line, "row", f"has {len(cells)} cells, not {len(columns)}", "quote cells that hold commas")
    at_s = _time(path, line, cells[columns["timestamp_s"]])
    if at_s < last_s:
        _bad(path, line, "timestamp_s", f"{at_s} comes after {last_s}", "sort the rows by timestamp_s")
    extra = cells[columns["extra_json"]] or "{}"
    if extra != "{}":
        _check_extra(path, line, extra)
    return TraceRow(
        at_s,
        _class(path, line, cells[columns["model_class"]]),
        cells[columns["source"]],
        _count(path, line, "input_tokens", cells[columns["input_tokens"]]),
        _count(path, line, "output_tokens", cells[columns["output_tokens"]]),
        _count(path, line, "images", cells[columns["images"]]),
        extra,
        cells[columns["model"]] or None if "model" in columns else None,
        cells[columns["access_node"]] or None if "access_node" in columns else None,
        line,
    )


def _time(path: Path, line: int, cell: str) -> float:
    try:
        at_s = float(cell)
    except ValueError:
        _bad(path, line, "timestamp_s", f"{cell!r} is not a number", "give seconds from the start of the trace")
    if not (math.isfinite(at_s) and at_s >= 0):
        _bad(path, line, "timestamp_s", f"{cell!r} is not a time", "give seconds ≥ 0 from the start of the trace")
    return at_s


def _class(path: Path, line: int, cell: str) -> ModelClass:
    kind = _CLASSES.get(cell)
    if kind is None:
        _bad(path, line, "model_class", f"unknown model class {cell!r}", nearest(cell, tuple(_CLASSES)))
    return kind


_CLASSES = {c.value: c for c in ModelClass}


def _count(path: Path, line: int, column: str, cell: str) -> int | None:
    if not cell:
        return None
    if not (cell.isascii() and cell.isdigit()):
        _bad(path, line, column, f"{cell!r} is not a whole number ≥ 0", "leave the cell empty when it is unknown")
    value = int(cell) if len(cell) <= 12 else MAX_COUNT + 1
    if value > MAX_COUNT:
        _bad(path, line, column, f"{cell} is larger than {MAX_COUNT}", "leave the cell empty when it is unknown")
    return value


def _check_extra(path: Path, line: int, text: str) -> None:
    try:
        loaded = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        _bad(path, line, "extra_json", f"not valid JSON: {error}", "give a JSON object, or leave the cell empty")
    if not isinstance(loaded, dict):
        _bad(path, line, "extra_json", "not a JSON object", 'give something like {"steps": 30}')


def _bad(path: Path, line: int, column: str, what: str, hint: str) -> NoReturn:
    raise BadInput(f"{column}: {what}", where=f"{path}:{line}", hint=hint)


def nearest(name: str, known: Iterable[str]) -> str:
    """The hint for a misspelt name: the nearest known one, else all of them."""
    names = list(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
