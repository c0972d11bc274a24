"""The door to Chroma: episodic case memory on disk, with our own vectors (nothing is ever downloaded or sent).

Chroma only stores cases and finds neighbours; what is recalled of them, merged and forgotten is decided by the pure
functions beside this module. A query never filters by metadata: at 100,000 cases that takes seconds, and a few rows
too many take nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from edgewise.control.merit import merit
from edgewise.domain.codec import from_json, to_plain
from edgewise.domain.errors import BadInput, EdgewiseError, MemoryUnavailable, SetupError
from edgewise.domain.records import Case, CaseOutcome, Reach, RecalledCase, Situation
from memory.book import Merged
from memory.consolidate import merged, repeated, scored
from memory.feasible import LEAST_PART, feasible_part
from memory.lock import FolderLock
from memory.ranking import Stored, forget, pool, recall
from memory.vectors import Axes

T = TypeVar("T")

COLLECTION = "cases-v1"
KEEP = 100_000
# Neighbours fetched beyond the pool, as some have no outcome yet or cannot be carried out; and how many are looked at
# when too few of those can be used.
SPARE, WIDE = 16, 256
NEIGHBOURS = 16  # among which a case that was just measured is looked for, to be merged with
PAGE = 5_000  # rows read or deleted at once: SQLite binds only so many variables
FULL = 0.97  # of `keep`: a memory this full is trimmed when it is opened, so that a run seldom waits for it
MIN_FREE_MIB = 16  # an empty Chroma folder takes less than one; the rest is room for a run's cases
# Chroma 1 waits for ever, and holds the interpreter's lock, when the disk fills up under a write: none is begun with
# less room than this.
WRITE_FREE_MIB = 4

_log = logging.getLogger(__name__)


class ChromaMemory:
    """Implements ports.Memory in the folder `path`. Holds at most `keep` cases (memory.ranking.forget). `now_s`
    orders cases over several runs, so it is the wall clock. One worker thread does all: SQLite has one writer, and
    the folder is locked while it is open, as Chroma's index is for one process."""

    def __init__(self, path: Path, keep: int = KEEP, now_s: Callable[[], float] = time.time) -> None:
        self._path = path
        self._keep = max(1, keep)
        self._now_s = now_s
        self._client: Any = None
        self._collection: Any = None
        self._lock = FolderLock(path)
        self._axes = Axes()
        self._merged = Merged()
        self._closed = False
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="case-memory")

    async def start(self) -> None:
        """Opens the folder now rather than at the first call. Raises SetupError when it cannot be used, MemoryInUse
        when another process has it."""
        await asyncio.get_running_loop().run_in_executor(self._worker, self._begin)

    async def recall(
        self, situation: Situation, count: int, reach: Reach | None = None, *, both: bool = False
    ) -> Sequence[RecalledCase]:
        return await self._call(lambda: self._recall(situation, count, reach, both))

    async def remember(self, case: Case) -> None:
        await self._call(lambda: self._remember([case]), writes=True)

    async def remember_all(self, cases: Sequence[Case]) -> None:
        """As `remember` for each, in batches."""
        await self._call(lambda: self._remember(cases), writes=True)

    async def score(self, case_id: str, outcome: CaseOutcome) -> None:
        """Adds what was measured. A case that is not there (it may have been forgotten) is no error."""
        if not math.isfinite(outcome.objective):
            raise BadInput(f"an outcome needs a finite objective, not {outcome.objective}", where=f"case {case_id}")
        await self._call(lambda: self._score(case_id, outcome), writes=True)

    async def count(self) -> int:
        return await self._call(lambda: int(self._collection.count()))

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._worker, self._close)
        self._worker.shutdown(wait=False)

    async def _call(self, work: Callable[[], T], writes: bool = False) -> T:
        """Runs `work` on the worker with the folder open. Every failure becomes MemoryUnavailable."""
        if self._closed:
            raise MemoryUnavailable("the case memory is closed", where=str(self._path))
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._guarded, work, writes)

    def _guarded(self, work: Callable[[], T], writes: bool) -> T:
        try:
            self._open()
            if writes:
                _room(self._path, WRITE_FREE_MIB)
            return work()
        except EdgewiseError as error:
            raise MemoryUnavailable(error.message, where=error.where, hint=error.hint) from error
        except BaseException as error:  # Chroma's Rust core panics with an exception outside `Exception`
            if not _foreign(error):
                raise
            hint = "is the disk full?"
            raise MemoryUnavailable(
                f"the case memory failed: {_line(error)}", where=str(self._path), hint=hint
            ) from error

    def _open(self) -> None:
        if self._collection is not None:
            return
        _usable(self._path)
        self._lock.take()
        # Heavy (a second or more), and not needed by processes that only import this package.
        import chromadb
        from chromadb.config import Settings

        try:
            options = Settings(anonymized_telemetry=False)
            self._client = chromadb.PersistentClient(path=str(self._path), settings=options)
            collection = self._client.get_or_create_collection(
                COLLECTION, embedding_function=None, configuration={"hnsw": {"space": "l2"}}
            )
            self._axes = Axes(tuple(json.loads((collection.metadata or {}).get("axes", "[]"))))
            self._collection = collection
        except BaseException as error:
            self._lock.release()
            if not _foreign(error):
                raise
            hint = "move the folder away to start with an empty memory"
            message = f"cannot open the case memory: {_line(error)}"
            raise SetupError(message, where=str(self._path), hint=hint) from error

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = self._collection = None
        self._lock.release()

    def _begin(self) -> None:
        self._open()
        try:
            self._trim(self._keep * FULL)
            # The index is read at the first query, which takes a third of a second with 100,000 cases.
            self._neighbours(Situation(()), 1)
        except BaseException as error:
            if not _foreign(error):
                raise
            hint = "move the folder away to start with an empty memory"
            message = f"cannot read the case memory: {_line(error)}"
            raise SetupError(message, where=str(self._path), hint=hint) from error

    def _recall(self, situation: Situation, count: int, reach: Reach | None, both: bool) -> list[RecalledCase]:
        if count <= 0:
            return []
        first = pool(count) + SPARE
        near = self._neighbours(situation, first)
        if len(near) == first and len([c for c in near if _usable_case(c, reach)]) < count:
            near = self._neighbours(situation, max(WIDE, first))
        return recall(situation, near, count, reach, both)

    def _neighbours(self, situation: Situation, count: int) -> list[Case]:
        found = self._collection.query(
            query_embeddings=[self._axes.vector(situation)], n_results=count, include=["metadatas", "documents"]
        )
        return _cases(found["metadatas"][0], found["documents"][0])

    def _remember(self, cases: Sequence[Case]) -> None:
        axes = self._axes
        for case in cases:
            axes = axes.extended(case.situation)
        if axes != self._axes:
            self._collection.modify(metadata={"axes": json.dumps(axes.names)})
            self._axes = axes
        for i in range(0, len(cases), PAGE):
            self._write(cases[i : i + PAGE], self._now_s())
        self._trim(self._keep)

    def _score(self, case_id: str, outcome: CaseOutcome) -> None:
        """What repeats another case is merged into it: written there first, then deleted here, so that a crash
        between the two costs nothing but a case counted twice."""
        found = self._collection.get(ids=[self._merged.name(case_id)], include=["documents", "metadatas"])
        for case in _cases(found["metadatas"], found["documents"]):
            done = scored(case, outcome)
            near = self._neighbours(case.situation, NEIGHBOURS) if case.outcome is None else []
            old = repeated(done, near)
            if old is None:
                self._write([done], float(found["metadatas"][0]["stored_s"]))
                continue
            self._write([merged(old, done)], self._now_s())
            self._merged.note(done.id, old.id)
            self._collection.delete(ids=[done.id])

    def _write(self, cases: Sequence[Case], stored_s: float) -> None:
        self._collection.upsert(
            ids=[c.id for c in cases],
            embeddings=[self._axes.vector(c.situation) for c in cases],
            metadatas=[_row(c, stored_s) for c in cases],
        )

    def _trim(self, most: float) -> None:
        count = int(self._collection.count())
        if count <= most:
            return
        stored: list[Stored] = []
        for start in range(0, count, PAGE):
            rows = self._collection.get(include=["metadatas"], limit=PAGE, offset=start)
            stored += [_stored(i, row) for i, row in zip(rows["ids"], rows["metadatas"], strict=True)]
        gone = forget(stored, min(self._keep, int(most)))
        for i in range(0, len(gone), PAGE):
            self._collection.delete(ids=gone[i : i + PAGE])


def _row(case: Case, stored_s: float) -> dict[str, Any]:
    # Not as a document: Chroma keeps an index of all words of those, several times their size. This JSON, unlike
    # pydantic's, keeps what is not finite.
    text = json.dumps(to_plain(case), separators=(",", ":"))
    row: dict[str, Any] = {"scored": case.outcome is not None, "stored_s": stored_s, "case": text}
    if case.outcome is not None:
        row |= {"objective": case.outcome.objective, "merit": merit(case) or 0.0}
    return row


def _stored(case_id: str, row: dict[str, Any]) -> Stored:
    """Rows of before merits were kept count as neither good nor bad."""
    return Stored(case_id, float(row["stored_s"]), float(row.get("merit", 0.0)) if row["scored"] else None)


def _usable_case(case: Case, reach: Reach | None) -> bool:
    if case.outcome is None:
        return False
    return reach is None or feasible_part(case.placement, reach) >= LEAST_PART


def _usable(path: Path) -> None:
    """Raises SetupError unless the folder exists or can be made, can be written and has some room."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
        _room(path, MIN_FREE_MIB)
    except OSError as error:
        hint = "choose another folder, or make it writable"
        message = f"the case memory's folder cannot be written: {error.strerror}"
        raise SetupError(message, where=str(path), hint=hint) from error


def _room(path: Path, needed_mib: int) -> None:
    """Raises SetupError when the disk has less room than that."""
    free_mib = shutil.disk_usage(path).free / 2**20
    if free_mib < needed_mib:
        message = f"no room for the case memory: {free_mib:.1f} MiB free, {needed_mib} MiB needed"
        raise SetupError(message, where=str(path), hint="free some space or choose another disk")


def _cases(rows: Sequence[dict[str, Any]], documents: Sequence[str | None]) -> list[Case]:
    """The cases, without those an older version wrote in another shape; the first one wrote documents."""
    cases = []
    for row, document in zip(rows, documents, strict=True):
        text = str(row.get("case") or document or "")
        try:
            cases.append(from_json(Case, text))
        except BadInput as error:
            _log.warning("a remembered case is skipped: %s", error.message)
    return cases


def _foreign(error: BaseException) -> bool:
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
