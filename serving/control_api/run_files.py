"""Reading a run directory that may still be written to: lines as they come, a torn last one left for later."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml

from edgewise.domain.errors import BadInput, RunFailed
from tools.rundir import DECISIONS, EVENTS, SCENARIO, SUMMARY

T = TypeVar("T")
FILES = (SUMMARY, DECISIONS, EVENTS, SCENARIO)


class LineTail(Generic[T]):
    """The lines of one .jsonl file, each built and returned once. A file that is not there yet has none."""

    def __init__(self, path: Path, build: Callable[[dict[str, Any], str], T]) -> None:
        """build: makes a record of one line, given where it stands (file:line); raises BadInput."""
        self.path = path
        self._build = build
        self._offset = 0  # bytes taken
        self._line = 0  # lines taken, blank ones included

    def take(self) -> list[T]:
        """What came since the last call. Raises BadInput naming file:line; then nothing counts as taken."""
        # What follows the last newline is being written, or was cut off: not ours to read yet.
        data = self._unread()
        whole = data[: data.rfind(b"\n") + 1]
        rows = []
        lines = whole.split(b"\n")[:-1]
        for number, raw in enumerate(lines, start=self._line + 1):
            if raw.strip():
                where = f"{self.path}:{number}"
                rows.append(self._build(_parse(raw, where), where))
        self._offset += len(whole)
        self._line += len(lines)
        return rows

    def _unread(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                return file.read()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise RunFailed(f"cannot read: {error.strerror}", where=str(self.path)) from error


def _parse(raw: bytes, where: str) -> dict[str, Any]:
    hint = "the file was damaged or edited: mend or remove this line"
    try:
        value = json.loads(raw)
    except ValueError as error:
        raise BadInput(f"not a line of JSON: {error}", where=where, hint=hint) from error
    if not isinstance(value, dict):
        raise BadInput("a line holds one JSON object", where=where, hint=hint)
    return value


def read_scenario(run: Path) -> dict[str, Any]:
    """scenario.yaml as a mapping; empty when it is not there (yet)."""
    path = run / SCENARIO
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the scenario: {error}", where=str(path)) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise BadInput(f"not valid YAML: {str(error).splitlines()[0]}", where=where) from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadInput("a scenario is a mapping of names to values", where=str(path))
    return value


def require_run(run: Path) -> None:
    """Raises BadInput unless `run` is a folder with at least one file of a run in it."""
    if not run.is_dir():
        raise BadInput("there is no such run directory", where=str(run), hint="give the folder a run was written to")
    if not any((run / name).exists() for name in FILES):
        raise BadInput("not a run directory", where=str(run), hint=f"a run has {', '.join(FILES)}")
