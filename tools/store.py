"""The store: documents in MongoDB through pymongo, written in batches behind a spool.

`put` never blocks on the store: rows go to a bounded in-memory spool, a thread writes them in batches; rows that
could not be stored when the run ends go to `SPOOL`, and are stored by the next run on that folder.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from os import getpid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from edgewise.domain.errors import SetupError, StoreUnavailable
from tools.process import free_port

if TYPE_CHECKING:
    from pymongo import MongoClient

log = logging.getLogger(__name__)
SPOOL = "spool.jsonl"
_BATCH = 200
_SPOOL_LIMIT = 50_000


class StoreChild:
    """nx-27017 as a child on loopback; the embedded default of a MongoDB server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process; `wait_ready` says when it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = ["--data-dir", str(self.folder), "--host", "127.0.0.1", "--port", str(self.port)]
        arguments += ["--log-file", str(self.folder / "store.log"), "--pid-file", str(self.folder / "store.pid")]
        with (self.folder / "store.out").open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tools.store_child", str(getpid()), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a terminal's Ctrl-C goes to the one process that stops the others in order
            )

    def wait_ready(self, timeout_s: float = 30.0) -> None:
        """Block until it answers a ping. Raises SetupError with the end of its log when it does not."""
        from pymongo import MongoClient
        from pymongo.errors import PyMongoError

        client: MongoClient[dict[str, Any]] = MongoClient(self.url, serverSelectionTimeoutMS=500)
        until = time.monotonic() + timeout_s
        try:
            while time.monotonic() < until:
                if self._process is None or self._process.poll() is not None:
                    break
                try:
                    client.admin.command("ping")
                    return
                except PyMongoError:
                    time.sleep(0.1)
        finally:
            client.close()
        raise SetupError(f"the store did not start: {self._tail()}", where=str(self.folder))

    def _tail(self) -> str:
        try:
            text = (self.folder / "store.out").read_text(errors="replace").strip()
        except OSError:
            text = ""
        return text.splitlines()[-1][:200] if text else "it said nothing"

    def stop(self, timeout_s: float = 3.0) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout_s)


class DocumentStore:
    """Upserts documents by `_id` into collections of one database, in batches, from a thread of its own."""

    def __init__(self, url: str, database: str, spool_folder: Path) -> None:
        self._url, self._name = url, database
        self._spool_file = spool_folder / SPOOL
        self._spool: deque[tuple[str, dict[str, Any]]] = deque()
        self._wake, self._idle, self._lock = threading.Event(), threading.Event(), threading.Lock()
        self._idle.set()
        self._stop = threading.Event()
        self._failing = False
        self._client: MongoClient[dict[str, Any]] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        from pymongo import MongoClient

        self._client = MongoClient(self._url, serverSelectionTimeoutMS=1000, socketTimeoutMS=5000)
        self._read_spool()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def put(self, collection: str, document: dict[str, Any]) -> None:
        """Spool one document (it has an `_id`). Never waits for the store; past the limit rows go to the file."""
        if len(self._spool) >= _SPOOL_LIMIT:
            self._append_to_file([(collection, document)])
            return
        with self._lock:
            self._spool.append((collection, document))
            self._idle.clear()
        self._wake.set()

    async def newest(self, collection: str, key: str, count: int) -> Sequence[dict[str, Any]]:
        """The `count` documents with the largest `key`, ascending. Raises StoreUnavailable."""
        return await asyncio.to_thread(self._newest, collection, key, count)

    def _newest(self, collection: str, key: str, count: int) -> list[dict[str, Any]]:
        from pymongo.errors import PyMongoError

        if self._client is None:
            raise StoreUnavailable("the store was not started", where=self._url)
        try:
            found = self._client[self._name][collection].find({}, {"_id": 0}).sort(key, -1).limit(count)
            return list(found)[::-1]
        except PyMongoError as error:
            raise StoreUnavailable(f"the store did not answer: {error}", where=self._url) from error

    async def flush(self, timeout_s: float = 10.0) -> None:
        """Return when all that was spooled is stored. Raises StoreUnavailable past the timeout."""
        if not await asyncio.to_thread(self._idle.wait, timeout_s):
            raise StoreUnavailable(f"{len(self._spool)} rows are not stored yet", where=self._url)

    async def aclose(self, timeout_s: float = 1.0) -> None:
        """Store what is left, or keep it in the spool file for the next start. A store that is gone is not waited
        for: whoever closes this may be killed for being slow, and the rows with it."""
        if not self._failing:
            await asyncio.to_thread(self._idle.wait, timeout_s)
        self._stop.set()
        self._wake.set()
        # Kept first, then given a moment: what is stored twice is stored once, by its `_id`.
        self._append_to_file(list(self._spool))
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, timeout_s)
        if self._client is not None:
            await asyncio.to_thread(self._client.close)

    def _run(self) -> None:
        delay_s = 0.1
        while not self._stop.is_set():
            self._wake.wait(1.0)
            self._wake.clear()
            while self._spool and not self._stop.is_set():
                self._failing = not self._write_batch()
                if not self._failing:
                    delay_s = 0.1
                else:
                    self._stop.wait(delay_s)
                    delay_s = min(5.0, delay_s * 2)
            with self._lock:
                if not self._spool:
                    self._idle.set()

    def _write_batch(self) -> bool:
        from pymongo import ReplaceOne
        from pymongo.errors import PyMongoError

        assert self._client is not None
        batch = list(self._spool)[:_BATCH]
        groups: dict[str, list[ReplaceOne[dict[str, Any]]]] = {}
        for collection, document in batch:
            groups.setdefault(collection, []).append(ReplaceOne({"_id": document["_id"]}, document, upsert=True))
        try:
            for collection, writes in groups.items():
                self._client[self._name][collection].bulk_write(writes, ordered=True)
        except PyMongoError as error:
            log.warning("store: %s", error)
            return False
        for _ in batch:
            self._spool.popleft()
        return True

    def _read_spool(self) -> None:
        if not self._spool_file.exists():
            return
        for line in self._spool_file.read_bytes().splitlines():
            collection, document = orjson.loads(line)
            self.put(collection, document)
        self._spool_file.unlink()

    def _append_to_file(self, rows: list[tuple[str, dict[str, Any]]]) -> None:
        if not rows:
            return
        try:
            with self._spool_file.open("ab") as out:
                out.write(b"".join(orjson.dumps(row) + b"\n" for row in rows))
        except OSError as error:
            log.error("store: %d rows could be kept nowhere: %s", len(rows), error)
