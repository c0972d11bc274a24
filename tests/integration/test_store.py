"""The store child and the journal on it: real processes, real MongoDB protocol."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from edgewise.compose.resume import past_decisions
from edgewise.domain.decision import Realised
from edgewise.domain.errors import StoreUnavailable
from edgewise.domain.records import SlotSummary
from tests.contract.journal_spec import decision_of as some_decision
from tools.journal import RunJournal
from tools.rundir import read_decisions
from tools.store import DocumentStore, StoreChild


@pytest.fixture(scope="module")
def store_child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreChild]:
    child = StoreChild(tmp_path_factory.mktemp("store"))
    child.start()
    try:
        child.wait_ready()
        yield child
    finally:
        child.stop()


def summary(slot: int) -> SlotSummary:
    return SlotSummary(slot, slot // 5, slot * 4.0, f"d-{slot}", (), 7, 0.9)


async def test_documents_come_back_newest_last(store_child: StoreChild, tmp_path: Path) -> None:
    store = DocumentStore(store_child.url, "newest", tmp_path)
    store.start()
    for number in range(450):
        store.put("rows", {"_id": number, "n": number, "none": None, "list": [1.5, {"a": "b"}]})
    await store.flush()
    rows = await store.newest("rows", "n", 3)
    assert [r["n"] for r in rows] == [447, 448, 449]
    assert rows[0]["list"] == [1.5, {"a": "b"}]
    await store.aclose()


async def test_a_document_put_twice_is_replaced(store_child: StoreChild, tmp_path: Path) -> None:
    store = DocumentStore(store_child.url, "replaced", tmp_path)
    store.start()
    store.put("rows", {"_id": 1, "n": 1, "x": "old"})
    store.put("rows", {"_id": 1, "n": 1, "x": "new"})
    await store.flush()
    assert [r["x"] for r in await store.newest("rows", "n", 9)] == ["new"]
    await store.aclose()


async def test_rows_of_a_dead_store_are_kept_for_the_next(store_child: StoreChild, tmp_path: Path) -> None:
    gone = DocumentStore("mongodb://127.0.0.1:9", "kept", tmp_path)
    gone.start()
    gone.put("rows", {"_id": 7, "n": 7})
    with pytest.raises(StoreUnavailable):
        await gone.flush(timeout_s=0.3)
    await gone.aclose(timeout_s=0.5)
    assert (tmp_path / "spool.jsonl").exists()
    back = DocumentStore(store_child.url, "kept", tmp_path)
    back.start()
    await back.flush()
    assert [r["n"] for r in await back.newest("rows", "n", 9)] == [7]
    await back.aclose()
    assert not (tmp_path / "spool.jsonl").exists()


async def eventually(condition: Callable[[], bool], tries: int = 400) -> None:
    """Look every 50 ms until it holds."""
    for _ in range(tries):
        if condition():
            return
        await asyncio.sleep(0.05)


async def test_rows_are_kept_even_when_the_process_is_given_little_time_to_end(tmp_path: Path) -> None:
    gone = DocumentStore("mongodb://127.0.0.1:9", "kept", tmp_path)
    gone.start()
    for number in range(3):
        gone.put("rows", {"_id": number, "n": number})
    await eventually(lambda: gone._failing)  # the first refusal may take a while on a busy machine
    closing = asyncio.create_task(gone.aclose(timeout_s=30.0))
    await eventually((tmp_path / "spool.jsonl").exists)
    assert len((tmp_path / "spool.jsonl").read_text().splitlines()) == 3
    await asyncio.wait_for(closing, 20)


async def test_outcomes_that_a_killed_journal_had_not_written_come_from_the_store(
    store_child: StoreChild, tmp_path: Path
) -> None:
    store = DocumentStore(store_child.url, "outcomes", tmp_path)
    store.start()
    killed = RunJournal(tmp_path, store)
    for slot in range(2):
        await killed.decision(some_decision(slot))
    await killed.decision(replace(some_decision(0), realised=Realised(2, 7, 1.5, 2.5)))
    await killed.flush()
    await store.aclose()
    assert "realised" not in read_decisions(tmp_path)[0]
    again = DocumentStore(store_child.url, "outcomes", tmp_path)
    again.start()
    later = RunJournal(tmp_path, again, past=past_decisions(tmp_path, 1e9))
    await later.take_revisions()
    await later.aclose()
    lines = read_decisions(tmp_path)
    assert [("realised" in line) for line in lines] == [True, False]


async def test_a_journal_reads_slots_of_an_earlier_process_from_the_store(
    store_child: StoreChild, tmp_path: Path
) -> None:
    for first in (0, 3):
        store = DocumentStore(store_child.url, "earlier", tmp_path)
        store.start()
        journal = RunJournal(tmp_path, store)
        for slot in range(first, first + 3):
            await journal.slot(summary(slot))
        await journal.flush()
        if first == 3:
            assert [s.slot for s in await journal.recent_slots(5)] == [1, 2, 3, 4, 5]
        await journal.aclose()


def test_the_child_has_a_title_and_dies_with_its_parent(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:  # a parent of its own, which is then killed
        child = StoreChild(tmp_path / "s")
        child.start()
        (tmp_path / "pid").write_text(str(child.pid))
        time.sleep(60)
        os._exit(0)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            text = (tmp_path / "pid").read_text() if (tmp_path / "pid").exists() else ""
            if text and _title(int(text)) == "edgewise: store":
                break
            time.sleep(0.05)
        child_pid = int((tmp_path / "pid").read_text())
        assert _title(child_pid) == "edgewise: store"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    deadline = time.monotonic() + 10
    while psutil.pid_exists(child_pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(child_pid)


def _title(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline()).strip()
    except psutil.Error:
        return ""
