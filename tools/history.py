"""The prompts of a run as its gateways recorded them: the rows of events.jsonl, read on as the file grows."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import orjson

from edgewise.domain.codec import from_plain
from edgewise.domain.errors import BadInput, RunFailed
from edgewise.domain.records import PromptRow
from tools.rundir import EVENTS

KEPT = 200_000  # newest rows at hand; a look back is minutes, not days


class RunHistory:
    """Implements ports.History over a run directory. A prompt has its row once it has ended."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / EVENTS
        self._offset = 0
        self._rows: deque[PromptRow] = deque(maxlen=KEPT)

    async def prompts(self, from_s: float, until_s: float) -> Sequence[PromptRow]:
        await asyncio.to_thread(self._read_on)
        return [r for r in self._rows if from_s <= r.arrived_s < until_s]

    def _read_on(self) -> None:
        """Whole lines since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return
        except OSError as error:
            raise RunFailed(f"cannot read: {error.strerror}", where=str(self._path)) from error
        whole = data[: data.rfind(b"\n") + 1]
        for line in whole.splitlines():
            if b'"arrived_s"' in line:
                self._rows.append(self._row(line))
        self._offset += len(whole)

    def _row(self, line: bytes) -> PromptRow:
        try:
            return from_plain(PromptRow, orjson.loads(line), str(self._path))
        except orjson.JSONDecodeError as error:
            raise BadInput(f"not JSON: {error}", where=str(self._path)) from error
