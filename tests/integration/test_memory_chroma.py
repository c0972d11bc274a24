"""Chroma on a real disk: restarts, death, folders that cannot be used, a full disk, other layouts."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgewise.domain.errors import MemoryUnavailable, SetupError
from edgewise.domain.records import CaseOutcome, Situation
from memory import chroma
from memory.chroma import ChromaMemory
from tests.support.planner_world import case_of

HERE = Situation((("load", 0.5), ("pressure", 0.5)))


async def test_cases_and_axes_survive_a_restart(tmp_path: Path) -> None:
    first = ChromaMemory(tmp_path)
    await first.remember(case_of("a", 0.5, 1.0))
    await first.remember(case_of("b", 2.0, 1.0))
    await first.aclose()
    second = ChromaMemory(tmp_path)
    swapped = Situation(tuple(reversed(HERE.features)))  # the order of names in a situation does not matter
    found = await second.recall(swapped, 5)
    await second.aclose()
    assert [(r.case.id, r.distance) for r in found] == [("a", 0.0), ("b", 1.5)]


WRITER = """
import asyncio, os, signal, sys
from pathlib import Path
from memory.chroma import ChromaMemory
from tests.support.planner_world import case_of
async def main():
    memory = ChromaMemory(Path(sys.argv[1]))
    for i in range(5):
        await memory.remember(case_of(f"c{i}", 0.5, 1.0))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


def _python(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[2]
    env = os.environ | {"PYTHONPATH": f"{root}:{root / 'tests'}"}
    return subprocess.run([sys.executable, "-c", code, *args], env=env, capture_output=True, text=True, timeout=60)


async def test_what_was_remembered_survives_sigkill(tmp_path: Path) -> None:
    done = await asyncio.to_thread(_python, WRITER, str(tmp_path / "m"))
    assert done.returncode == -signal.SIGKILL, done.stderr
    memory = ChromaMemory(tmp_path / "m")
    assert await memory.count() == 5
    assert len(await memory.recall(HERE, 5)) == 5
    await memory.aclose()


FULL = """
import asyncio, resource, signal, sys
from pathlib import Path
from edgewise.domain.errors import MemoryUnavailable
from memory.chroma import ChromaMemory
from tests.support.planner_world import case_of
async def main():
    memory = ChromaMemory(Path(sys.argv[1]))
    await memory.remember(case_of("a", 0.5, 1.0))
    size = (Path(sys.argv[1]) / "chroma.sqlite3").stat().st_size
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))  # no file may grow: what a full disk looks like
    try:
        for i in range(400):
            await memory.remember(case_of(f"c{i}" * 50, 0.5, 1.0))
    except MemoryUnavailable as error:
        sys.stdout.write(error.line())
    await memory.aclose()
asyncio.run(main())
"""


async def test_a_disk_that_fills_up_is_one_of_our_errors(tmp_path: Path) -> None:
    done = await asyncio.to_thread(_python, FULL, str(tmp_path / "m"))
    assert done.returncode == 0, done.stderr
    assert "the case memory failed" in done.stdout
    assert "disk" in done.stdout


async def test_a_folder_that_cannot_be_made_is_a_clear_set_up_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    memory = ChromaMemory(tmp_path / "file" / "m")
    with pytest.raises(SetupError, match="cannot be written: Not a directory") as caught:
        await memory.start()
    assert str(tmp_path) in caught.value.line()
    with pytest.raises(MemoryUnavailable):
        await memory.recall(HERE, 1)
    await memory.aclose()


async def test_too_little_room_is_said_with_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chroma, "MIN_FREE_MIB", 1e12)
    memory = ChromaMemory(tmp_path)
    with pytest.raises(SetupError, match=r"MiB free, .* MiB needed"):
        await memory.start()
    await memory.aclose()


async def test_a_foreign_file_in_its_place_is_a_clear_set_up_error(tmp_path: Path) -> None:
    (tmp_path / "chroma.sqlite3").write_bytes(b"garbage" * 1000)
    memory = ChromaMemory(tmp_path)
    with pytest.raises(SetupError, match="cannot open the case memory"):
        await memory.start()
    await memory.aclose()


async def test_a_case_of_another_shape_is_skipped(tmp_path: Path) -> None:
    memory = ChromaMemory(tmp_path)
    for name in ("old", "new"):
        await memory.remember(case_of(name, 0.5, 1.0))
    await memory.aclose()
    with sqlite3.connect(tmp_path / "chroma.sqlite3") as db:
        changed = db.execute(
            "UPDATE embedding_metadata SET string_value = '{\"id\": 7}' "
            "WHERE key = 'chroma:document' AND string_value LIKE '%\"id\": \"old\"%'"
        ).rowcount
    db.close()
    assert changed == 1
    again = ChromaMemory(tmp_path)
    assert [r.case.id for r in await again.recall(HERE, 5)] == ["new"]
    await again.score("old", CaseOutcome(1.0, 1.0, 1.0, 1))  # nothing to score; no error
    await again.aclose()


async def test_more_features_than_axes_still_count_in_the_distance(tmp_path: Path) -> None:
    memory = ChromaMemory(tmp_path)
    wide = Situation(tuple((f"f{i}", 0.0) for i in range(100)))
    await memory.remember(replace(case_of("wide", 0.5, 1.0), situation=wide))
    (found,) = await memory.recall(Situation((("f99", 0.25),)), 1)
    await memory.aclose()
    assert found.distance == 0.25


async def test_calls_from_many_tasks_at_once(tmp_path: Path) -> None:
    memory = ChromaMemory(tmp_path)
    await asyncio.gather(*(memory.remember(case_of(f"c{i}", i / 10, 1.0)) for i in range(20)))
    recalls = await asyncio.gather(*(memory.recall(HERE, 3) for _ in range(10)))
    assert await memory.count() == 20
    assert all(len(found) == 3 and found[0].case.id == "c5" for found in recalls)
    assert all(found == recalls[0] for found in recalls)
    await memory.aclose()


async def test_nothing_is_written_to_a_disk_that_is_nearly_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = ChromaMemory(tmp_path)
    await memory.remember(case_of("a", 0.5, 1.0))
    with monkeypatch.context() as full:
        full.setattr(chroma, "WRITE_FREE_MIB", 1e12)
        with pytest.raises(MemoryUnavailable, match="no room for the case memory"):
            await memory.remember(case_of("b", 0.5, 1.0))
        assert len(await memory.recall(HERE, 5)) == 1
    await memory.remember(case_of("c", 0.5, 1.0))
    assert await memory.count() == 2
    await memory.aclose()
