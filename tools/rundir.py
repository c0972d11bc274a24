"""The run directory: formats other tools read (decisions.jsonl, events.jsonl, summary.json, scenario.yaml).

Lines are appended with one write each on a descriptor opened with O_APPEND, so that several processes may share
a file and a reader never sees half a line of one that is done.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from edgewise.control.lift import lift, realised_lift
from edgewise.domain.codec import from_plain, to_plain
from edgewise.domain.decision import Decision
from edgewise.domain.errors import BadInput, RunFailed, SetupError
from edgewise.domain.records import PromptRow, ReplicaRow

EVENTS, DECISIONS, SUMMARY, SCENARIO = "events.jsonl", "decisions.jsonl", "summary.json", "scenario.yaml"
CHECKPOINTS, RECORDINGS, STORE, MEMORY, LOGS = "checkpoints.sqlite", "recordings", "store", "memory", "logs"
NEEDED_MIB = 64  # store, case memory, checkpoints and rows of an hour's run stay below this


class LineWriter:
    """Appends JSON lines to one file. A line the disk refuses is kept and written before the next one, or on closing:
    a disk that is full for a while loses nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unwritten: list[bytes] = []
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def append(self, row: dict[str, Any]) -> None:
        self.append_line(orjson.dumps(row))

    def append_line(self, line: bytes) -> None:
        """`line` is one JSON document. Raises RunFailed when the disk says no; the line is kept then."""
        self.unwritten.append(line + b"\n")
        self._write()

    def close(self) -> None:
        """Raises RunFailed when kept lines still cannot be written; they are lost with this process."""
        if self._fd < 0:
            return
        try:
            self._write()
        finally:
            os.close(self._fd)
            self._fd = -1

    def _write(self) -> None:
        try:
            while self.unwritten:
                _write_whole(self._fd, self.unwritten[0])
                del self.unwritten[0]
        except OSError as error:
            what = f"cannot append: {error.strerror}; rows not written: {len(self.unwritten)}"
            raise RunFailed(what, where=str(self.path), hint="free some disk") from error


def _write_whole(fd: int, line: bytes) -> None:
    """One line, whole or not at all: part of one would damage the next, which may be another process's."""
    written = os.write(fd, line)
    if written == len(line):
        return
    end = os.lseek(fd, 0, os.SEEK_CUR)
    if os.fstat(fd).st_size == end:
        os.ftruncate(fd, end - written)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def create_run_dir(path: Path) -> Path:
    """Make an empty run directory. Raises BadInput when it holds a run already or cannot be made, SetupError when
    the disk under it has too little room for a store."""
    where = str(path)
    try:
        path.exists()
    except OSError as error:  # a name that no file system takes
        raise BadInput(f"cannot make the run directory: {error.strerror}", where=where[:80]) from error
    if path.exists() and not path.is_dir():
        raise BadInput("not a folder", where=where, hint="give --out a folder that is new or empty")
    if path.is_dir() and any(path.iterdir()):
        raise BadInput("the folder is not empty", where=where, hint="give --out a folder that is new or empty")
    room = _room_mib(path)
    if room < NEEDED_MIB:
        raise SetupError(
            f"no disk space for the store: {room:.0f} MiB free, {NEEDED_MIB} MiB needed",
            where=where,
            hint="free some, or choose another folder with --out",
        )
    try:
        (path / RECORDINGS).mkdir(parents=True, exist_ok=True)
        (path / LOGS).mkdir(exist_ok=True)
    except OSError as error:
        kind = SetupError if error.errno in (errno.ENOSPC, errno.EROFS) else BadInput
        raise kind(f"cannot make the run directory: {error.strerror}", where=where) from error
    return path


def forget_run_dir(path: Path, keep_folder: bool) -> None:
    """Remove what a run that came to nothing left in its directory, and the directory unless it was there before."""
    for item in [*path.iterdir()] if keep_folder else [path]:
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item, ignore_errors=True)
        else:
            item.unlink(missing_ok=True)


def _room_mib(path: Path) -> float:
    probe = path.absolute()
    while not probe.exists():
        probe = probe.parent
    return shutil.disk_usage(probe).free / 2**20


def write_json(path: Path, value: Any) -> None:
    """Write a JSON document whole or not at all."""
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RunFailed(f"cannot write: {error.strerror}", where=str(path), hint="free some disk") from error


def decision_row(decision: Decision) -> dict[str, Any]:
    """One line of decisions.jsonl."""
    row: dict[str, Any] = {
        "id": decision.id,
        "slot": decision.slot,
        "epoch": decision.epoch,
        "at_s": decision.at_s,
        "rung": decision.rung.value,
        "mode": decision.mode.value,
        "incumbent": decision.incumbent,
        "chosen": decision.chosen,
        "runner_up": decision.runner_up,
        "margin": decision.verdict.margin,
        "required": decision.verdict.required,
        "accepted": decision.verdict.accepted,
        "reason": decision.verdict.reason,
        "candidates": [
            {
                "from": c.source,
                "plan": c.plan.id,
                "score": c.score.mean,
                "interval": [c.score.low, c.score.high],
                "note": c.note,
            }
            for c in decision.candidates
        ],
        "recalled": list(decision.recalled),
        "changes": [
            {
                "node": o.change.node,
                "model": o.change.model,
                "kind": o.change.kind.value,
                "detail": o.change.detail,
                "status": o.status,
                "why": o.detail,
            }
            for o in decision.changes
        ],
        "llm": to_plain(decision.llm),
        "lift": _lift_row(decision),
        "epoch_result": decision.epoch_result,
        "trigger": decision.trigger,
        "notes": list(decision.notes),
        "plan": to_plain(decision.plan),
    }
    if decision.realised is not None:
        row["realised"] = to_plain(decision.realised)
        if decision.realised.hindsight is None:
            del row["realised"]["hindsight"]
    if row["lift"] is None:
        del row["lift"]
    if decision.llm_rests:
        row["llm_rests"] = decision.llm_rests
    if decision.approval is not None:
        row["approval"] = to_plain(decision.approval)
    return row


def _lift_row(decision: Decision) -> dict[str, float | None] | None:
    """What the language model's plan was worth beside the optimiser's; None where none was compared."""
    predicted = lift(decision)
    seen = decision.realised.hindsight if decision.realised is not None else None
    return None if predicted is None else {"predicted": predicted, "realised": realised_lift(seen) if seen else None}


def decision_of(row: dict[str, Any], where: str = "") -> Decision:
    """The decision a line of decisions.jsonl tells of; `decision_row` gives the same line again. Of the candidates'
    plans only the ids are known. Raises BadInput naming the first bad field."""
    try:
        verdict = {k: row[k] for k in ("chosen", "runner_up", "margin", "required", "accepted", "reason")}
        nothing = {"source": "optimiser", "made_at_s": row["at_s"], "expires_s": row["at_s"], "replicas": []}
        candidates = [
            {
                "source": c["from"],
                "plan": {**nothing, "id": c["plan"]},
                "score": {"mean": c["score"], "low": c["interval"][0], "high": c["interval"][1]},
                "note": c["note"],
            }
            for c in row["candidates"]
        ]
        changes = [
            {
                "change": {k: c[k] for k in ("node", "model", "kind", "detail")},
                "status": c["status"],
                "detail": c["why"],
            }
            for c in row["changes"]
        ]
    except (LookupError, TypeError) as error:
        raise BadInput(f"not a decision: {error!r}", where=where) from error
    same = {k: v for k, v in row.items() if k in Decision.__dataclass_fields__}
    return from_plain(Decision, {**same, "verdict": verdict, "candidates": candidates, "changes": changes}, where)


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, row) of a .jsonl file; a last line without its end (a run cut off) is left out.
    Raises BadInput with file:line for any other line that is not a JSON object."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise BadInput(f"cannot read: {error.strerror}", where=str(path)) from error
    lines = data.split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise BadInput(f"not JSON: {error}", where=f"{path}:{number}") from error
        if not isinstance(row, dict):
            raise BadInput("a row is a JSON object", where=f"{path}:{number}")
        yield number, row


def read_prompts(run: Path) -> list[PromptRow]:
    path = run / EVENTS
    return [from_plain(PromptRow, row, f"{path}:{n}") for n, row in read_lines(path) if "arrived_s" in row]


def read_replica_rows(run: Path) -> list[ReplicaRow]:
    path = run / EVENTS
    return [
        from_plain(ReplicaRow, row, f"{path}:{n}")
        for n, row in read_lines(path)
        if "arrived_s" not in row and "kind" in row
    ]


def read_decisions(run: Path) -> list[dict[str, Any]]:
    return [row for _, row in read_lines(run / DECISIONS)]
