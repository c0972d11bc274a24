"""What readers of public traces have in common: the rows they yield, and what is known of a format."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, NoReturn

from edgewise.domain.errors import BadInput
from evals.traces import MAX_COUNT, ModelClass

NS = 1_000_000_000
EPOCH = datetime(1970, 1, 1)
MISSING = frozenset({"", "NULL", "None"})  # how these files write "not known"; "nan" is a slip of whoever wrote it
_WHOLE = re.compile(r"(\d{1,12})(?:\.0*)?", re.ASCII)  # pandas writes whole numbers with .0 where some are missing
_SECONDS = re.compile(r"(\d{1,11})(?:\.(\d{0,9})\d*)?", re.ASCII)
_STAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:(Z)|([+-])(\d\d):?([0-5]\d))?", re.ASCII
)


class Item(NamedTuple):
    """One request of an original file. at_ns: nanoseconds on the file's own clock, kept whole so that nothing is lost
    before the start is subtracted. None: not known. remarks: what is worth counting about it."""

    at_ns: int
    line: int
    model_class: ModelClass
    input_tokens: int | None
    output_tokens: int | None
    images: int | None
    extra_json: str = "{}"
    remarks: tuple[str, ...] = ()


class Dropped(NamedTuple):
    """A line that is left out by a documented rule of its source."""

    line: int
    reason: str


class Stamp(NamedTuple):
    """A date and time: nanoseconds since 1970, in UTC when `zoned`, else as the clock on the wall showed it."""

    ns: int
    zoned: bool


@dataclass(frozen=True, slots=True)
class Format:
    """A public format. needs: columns (or keys) without which it is not this one. tells: whether the first row is of
    this format, where several have the same columns. since_1970: its clock counts from there, else from anywhere."""

    name: str
    dataset: str
    home: str
    layout: str  # csv | jsonl
    needs: tuple[str, ...]
    read: Callable[[Path, ModelClass | None], Iterator[Item | Dropped]]
    source: Callable[[Path], str]
    since_1970: bool
    notes: tuple[str, ...] = ()
    tells: Callable[[Mapping[str, str]], bool] = lambda first: True

    def moment(self, at_ns: int) -> str:
        """A moment of the file's clock, for people."""
        if not self.since_1970:
            return f"{at_ns / NS:.12g} s on the file's own clock"
        whole, part = divmod(at_ns, NS)
        return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%d %H:%M:%S}.{part:09d}".rstrip("0").rstrip(".")


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a CSV file by column name. Its methods raise BadInput naming file, line and column."""

    path: Path
    line: int
    cells: Mapping[str, str]

    def text(self, column: str) -> str | None:
        cell = self.cells.get(column, "").strip()
        return None if cell in MISSING else cell

    def whole(self, column: str) -> int | None:
        """A count ≥ 0; None where the source does not say."""
        cell = self.text(column)
        if cell is None:
            return None
        found = _WHOLE.fullmatch(cell)
        if found is None:
            self.bad(column, f"{cell!r} is not a whole number ≥ 0", "leave the cell empty when it is unknown")
        if int(found[1]) > MAX_COUNT:
            self.bad(column, f"{cell} is larger than {MAX_COUNT}", "leave the cell empty when it is unknown")
        return int(found[1])

    def seconds(self, column: str) -> int | None:
        """Seconds ≥ 0 as nanoseconds; None where the source does not say. Digits below are cut."""
        cell = self.text(column)
        if cell is None:
            return None
        found = _SECONDS.fullmatch(cell)
        if found is None:
            self.bad(column, f"{cell!r} is not a number of seconds ≥ 0", "write it as 12 or 12.5")
        return int(found[1]) * NS + int((found[2] or "").ljust(9, "0"))

    def stamp(self, column: str) -> Stamp:
        """A date and time like 2024-05-12 00:00:00.001163+00:00; fraction and offset may be absent."""
        cell = self.text(column) or ""
        found = _STAMP.fullmatch(cell)
        if found is None:
            self.bad(column, f"{cell!r} is not a date and time", "write it as 2024-05-12 00:00:00.001163+00:00")
        date, clock, fraction, utc, sign, hours, minutes = found.groups()
        try:
            since = datetime.fromisoformat(f"{date} {clock}") - EPOCH
        except ValueError as error:
            self.bad(column, f"{cell!r} is not a date and time: {error}", "correct it")
        whole_s = since.days * 86_400 + since.seconds
        if sign:
            whole_s -= (1 if sign == "+" else -1) * (int(hours) * 3600 + int(minutes) * 60)
        return Stamp(whole_s * NS + int((fraction or "").ljust(9, "0")), bool(utc or sign))

    def bad(self, column: str, what: str, hint: str) -> NoReturn:
        raise BadInput(f"{column}: {what}", where=f"{self.path}:{self.line}", hint=hint)
