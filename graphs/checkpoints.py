"""Checkpoints in one SQLite file, one thread per decision; old threads are deleted, so that the file stays small.

They hold all that a decision was made from, so that a run is replayed from them (graphs/replay.py).
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiosqlite
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from edgewise.domain.errors import BadInput, SetupError
from graphs.packing import serializer

KEPT_THREADS = 1000  # an hour of 4 s slots; 5 KiB each at 7 nodes

_log = logging.getLogger(__name__)


class Retention:
    """Deletes a thread once `kept` newer ones have ended."""

    def __init__(self, saver: AsyncSqliteSaver, kept: int = KEPT_THREADS) -> None:
        self._saver, self._kept = saver, kept
        self._threads: deque[str] = deque()
        self._left: set[str] = set()

    async def resume(self) -> tuple[str, ...]:
        """Take up the threads that an earlier controller of the run left; their ids, oldest first."""
        query = "SELECT thread_id FROM checkpoints GROUP BY thread_id ORDER BY MIN(checkpoint_id)"
        async with self._saver.conn.execute(query) as found:
            self._threads.extend([row[0] async for row in found])
        self._left = set(self._threads)
        return tuple(self._threads)

    async def begins(self, thread_id: str) -> None:
        """Makes room for a thread that an earlier controller did not get to record: what it left must not mix in."""
        if thread_id in self._left:
            await self._saver.adelete_thread(thread_id)

    async def ended(self, thread_id: str) -> None:
        if thread_id not in self._threads:
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


def copied(path: Path) -> sqlite3.Connection:
    """A checkpoint file as it is now, in memory; the file and its folder are not written. A run that still goes on
    is read as any reader of SQLite would. Raises BadInput for what is no such file."""
    # A file without a log beside it is not in use, and is read without the files that SQLite would make to share it.
    shared = path.with_name(path.name + "-wal").exists()
    at = f"{path.resolve().as_uri()}?mode=ro" + ("" if shared else "&immutable=1")
    copy = sqlite3.connect(":memory:", check_same_thread=False)
    try:
        with contextlib.closing(sqlite3.connect(at, uri=True)) as source:
            source.backup(copy)
        copy.execute("SELECT thread_id FROM checkpoints LIMIT 1")
    except sqlite3.Error as error:
        copy.close()
        raise BadInput(f"not a usable checkpoint file: {error}", where=str(path)) from error
    return copy


@asynccontextmanager
async def saver_over(copy: sqlite3.Connection) -> AsyncIterator[AsyncSqliteSaver]:
    """A saver over a copy in memory. Closes it."""
    connection = await aiosqlite.Connection(lambda: copy, iter_chunk_size=64)
    try:
        yield AsyncSqliteSaver(connection, serde=serializer())
    finally:
        await connection.close()
