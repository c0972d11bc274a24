"""Checkpoints in one SQLite file, one thread per decision; old threads are deleted, so that the file stays small."""

from __future__ import annotations

import logging
import sqlite3
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiosqlite
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from edgewise.domain.errors import SetupError
from graphs.state import serializer

KEPT_THREADS = 200

_log = logging.getLogger(__name__)


class Retention:
    """Deletes a thread once `kept` newer ones have ended."""

    def __init__(self, saver: AsyncSqliteSaver, kept: int = KEPT_THREADS) -> None:
        self._saver, self._kept = saver, kept
        self._threads: deque[str] = deque()

    async def ended(self, thread_id: str) -> None:
        self._threads.append(thread_id)
        while len(self._threads) > self._kept:
            try:
                await self._saver.adelete_thread(self._threads.popleft())
            except (sqlite3.Error, ValueError) as error:
                _log.warning("checkpoints: %s", error)


@asynccontextmanager
async def open_checkpoints(path: Path) -> AsyncIterator[AsyncSqliteSaver]:
    """The saver over `path`. Raises SetupError when the file cannot be opened or made."""
    try:
        # Tried without a worker thread first: one whose connect fails may outlive the event loop.
        sqlite3.connect(path).close()
        connection = await aiosqlite.connect(path)
    except (sqlite3.Error, OSError) as error:
        raise SetupError(
            f"cannot open the checkpoints: {error}", where=str(path), hint="its folder must exist and be writable"
        ) from error
    try:
        # Checkpoints replay a run; losing the last ones to a power cut is acceptable, a sync per slot is not.
        await connection.execute("PRAGMA synchronous=NORMAL")
        saver = AsyncSqliteSaver(connection, serde=serializer())
        try:
            await saver.setup()
        except sqlite3.Error as error:
            raise SetupError(f"not a usable checkpoint file: {error}", where=str(path)) from error
        yield saver
    finally:
        await connection.close()
