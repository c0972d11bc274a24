"""The prompt rows of events.jsonl. Other processes append to the same file, so each line is one O_APPEND write."""

from __future__ import annotations

import logging
from pathlib import Path

from edgewise.domain.codec import to_json
from edgewise.domain.errors import RunFailed, SetupError
from edgewise.domain.records import PromptRow
from tools.rundir import EVENTS, LineWriter

_log = logging.getLogger(__name__)


class EventLog:
    """Append-only. A row the disk refuses is kept and written before the next one. Raises SetupError on opening."""

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / EVENTS
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
            self._lines = LineWriter(self.path)
        except OSError as error:
            raise SetupError(f"cannot open the event log: {error.strerror}", where=str(self.path)) from error

    def write(self, row: PromptRow) -> None:
        try:
            self._lines.append_line(to_json(row))
        except RunFailed as error:
            _log.error("%s", error.line())

    def close(self) -> None:
        try:
            self._lines.close()
        except RunFailed as error:
            _log.error("%s", error.line())
