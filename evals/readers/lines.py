"""Lines, CSV rows and JSON objects of a file that somebody else wrote; everything wrong is said with its line."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any

import orjson

from edgewise.domain.errors import BadInput
from evals.readers.records import Dropped, Record
from evals.traces import nearest

MAX_LINE = 16 * 2**20  # bytes; a longer "line" is a file that is not text
BOM = "\ufeff"
REPEATED = "a repeated header line"  # files that were put together by `cat`


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file, unpacked when it is gzip (by content, whatever its name), a byte order mark removed.

    Raises BadInput (where = file:line) for bytes that are not text, a file cut off, one that cannot be read.
    """
    line = 0
    try:
        with _open(path) as stream:
            while raw := stream.readline(MAX_LINE):
                line += 1
                if len(raw) == MAX_LINE or (line == 1 and b"\0" in raw):
                    hint = "unpack archives first (a .csv.gz or .jsonl.gz may stay as it is)"
                    raise BadInput("not a text file", where=f"{path}:{line}", hint=hint)
                text = raw.decode()
                yield text.removeprefix(BOM) if line == 1 else text
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        what = f"not a whole gzip file after line {line}: {error}"
        raise BadInput(what, where=f"{path}:{line + 1}", hint="copy the file again, it was cut or damaged") from error
    except UnicodeDecodeError as error:
        what = f"not UTF-8 text (byte {error.object[error.start]:#04x})"
        raise BadInput(what, where=f"{path}:{line}", hint="save the file as UTF-8") from error
    except OSError as error:
        what = f"cannot read the trace: {error.strerror or error}"
        raise BadInput(what, where=str(path), hint="name a readable file") from error


def csv_records(path: Path, needs: Sequence[str]) -> Iterator[Record | Dropped]:
    """The rows of a CSV file whose header has the columns `needs`; others may be there too."""
    reader, line = csv.reader(text_lines(path), strict=True), 0
    try:
        header = next(reader, None)
        names = header_names(path, header, needs)
        line = reader.line_num
        for cells in reader:
            line = reader.line_num
            if not cells:
                continue
            if [cells[0].removeprefix(BOM), *cells[1:]] == header:
                yield Dropped(line, REPEATED)
                continue
            if len(cells) != len(names):
                what = f"row: has {len(cells)} cells, not {len(names)}"
                hint = "quote cells that hold commas; was the file cut off?"
                raise BadInput(what, where=f"{path}:{line}", hint=hint)
            yield Record(path, line, dict(zip(names, cells, strict=True)))
    except csv.Error as error:
        raise BadInput(f"not a CSV row: {error}", where=f"{path}:{line + 1}", hint="check its quotes") from error


def header_names(path: Path, header: list[str] | None, needs: Sequence[str]) -> list[str]:
    """The column names of a header line, trimmed. Raises BadInput for one that is missing or there twice."""
    if not header:
        raise BadInput("the file is empty", where=f"{path}:1", hint=f"first line: {','.join(needs)}")
    names = [name.strip() for name in header]
    for name in needs:
        if name not in names:
            hint = f"columns needed: {', '.join(needs)}; {nearest(name, names)}"
            raise BadInput(f"column {name!r} is missing", where=f"{path}:1", hint=hint)
    for name in names:
        if name and names.count(name) > 1:
            raise BadInput(f"column {name!r} is there twice", where=f"{path}:1", hint="remove one")
    return names


def json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, object) of a file with one JSON object per line; blank lines are left out."""
    line = 0
    for line, text in enumerate(text_lines(path), 1):
        if not text.strip():
            continue
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            hint = "one JSON object per line; was the file cut off?"
            raise BadInput(f"not JSON: {error}", where=f"{path}:{line}", hint=hint) from error
        if not isinstance(found, dict):
            raise BadInput("not a JSON object", where=f"{path}:{line}", hint="one JSON object per line")
        yield line, found
    if not line:
        raise BadInput("the file is empty", where=f"{path}:1", hint="one JSON object per line")


def _open(path: Path) -> gzip.GzipFile | BufferedReader:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if packed else path.open("rb")
