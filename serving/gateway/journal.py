"""The prompt rows of events.jsonl. Other processes append to the same file, so each line is one O_APPEND write."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from edgewise.domain.codec import to_json
from edgewise.domain.errors import SetupError
from edgewise.domain.records import PromptRow

_log = logging.getLogger(__name__)
EVENTS = "events.jsonl"


class EventLog:
    """Append-only. A row the disk refuses is kept and written before the next one. Raises SetupError on opening."""

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / EVENTS
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise SetupError(f"cannot open the event log: {error.strerror}", where=str(self.path)) from error
        self.unwritten: list[bytes] = []

    def write(self, row: PromptRow) -> None:
        self.unwritten.append(to_json(row) + b"\n")
        while self.unwritten:
            try:
                written = os.write(self._handle, self.unwritten[0])
            except OSError as error:
                _log.error("%s: %s; %d rows kept in memory", self.path, error.strerror, len(self.unwritten))
                return
            rest = self.unwritten[0][written:]
            self.unwritten[:1] = [rest] if rest else []

    def close(self) -> None:
        os.close(self._handle)
