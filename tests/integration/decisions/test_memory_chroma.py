"""Chroma on a real disk: restarts, death, folders that cannot be used, a full disk, other layouts."""

from __future__ import annotations

import asyncio
import json
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
from memory.lock import MemoryInUse
from tests.support.planner_world import case_of

ROOT = Path(__file__).resolve().parents[3]
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
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
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
            "WHERE key = 'case' AND string_value LIKE '%\"id\":\"old\"%'"
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


async def test_a_case_of_before_there_were_more_fields_is_recalled(tmp_path: Path) -> None:
    memory = ChromaMemory(tmp_path)
    await memory.remember(case_of("far", 0.9, 1.0))  # gives the features their axes
    old = {
        "id": "old", "decision": "d-old", "at_s": 0.0, "situation": {"features": [["load", 0.5], ["pressure", 0.5]]},
        "placement": [{"node": "edge-1", "model": "gpt2"}], "predicted": 1.0, "summary": "case old",
        "outcome": {"objective": 1.0, "mean_latency_s": 4.0, "jain_normalized": 0.9, "slots": 2},
    }  # fmt: skip
    # As the first version wrote it: the case is the row's document, and its merit is not among the metadata.
    memory._collection.upsert(
        ids=["old"],
        embeddings=[memory._axes.vector(HERE)],
        metadatas=[{"scored": True, "stored_s": 1.0, "objective": 1.0}],
        documents=[json.dumps(old)],
    )
    wider = Situation((*HERE.features, ("memory", 0.9), ("role:single", 1.0)))
    found = await memory.recall(wider, 1)
    assert [r.case for r in found] == [case_of("old", 0.5, 1.0)]
    assert found[0].distance == 0.0  # what was not measured then does not part them
    await memory.score("old", CaseOutcome(1.0, 4.0, 0.9, 2, regret=0.5))
    assert (await memory.recall(wider, 1))[0].case.outcome == CaseOutcome(1.0, 4.0, 0.9, 2, 0.5, 1, 1)
    await memory.aclose()


async def test_two_do_not_share_a_folder_at_once_and_a_dead_holder_does_not_keep_it(tmp_path: Path) -> None:
    first, second = ChromaMemory(tmp_path), ChromaMemory(tmp_path)
    await first.start()
    with pytest.raises(MemoryInUse, match="in use by another process") as caught:
        await second.start()
    assert str(tmp_path) in caught.value.line()
    await first.aclose()
    await second.start()
    await second.aclose()
    done = await asyncio.to_thread(_python, WRITER, str(tmp_path / "m"))
    assert done.returncode == -signal.SIGKILL, done.stderr
    third = ChromaMemory(tmp_path / "m")
    await third.start()
    await third.aclose()


BUSY = """
import asyncio, sys
from pathlib import Path
from edgewise.domain.records import CaseOutcome
from memory.chroma import ChromaMemory
from tests.support.planner_world import case_of
async def main():
    memory = ChromaMemory(Path(sys.argv[1]))
    await memory.remember(case_of("first", 0.5))
    await memory.score("first", CaseOutcome(1.0, 1.0, 1.0, 2))
    sys.stdout.write("going\\n")
    sys.stdout.flush()
    for i in range(100_000):
        await memory.remember(case_of(f"again-{i}", 0.5))
        await memory.score(f"again-{i}", CaseOutcome(1.0, 1.0, 1.0, 2))
        await memory.remember(case_of(f"c{i}", 1.0 + i, 1.0))
asyncio.run(main())
"""


async def test_death_in_the_middle_of_writing_and_merging_leaves_a_memory_that_goes_on(tmp_path: Path) -> None:
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    for wait_s in (0.3, 0.7):
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", BUSY, str(tmp_path / "m"), env=env, stdout=asyncio.subprocess.PIPE
        )
        assert writer.stdout is not None
        await writer.stdout.readline()
        await asyncio.sleep(wait_s)
        writer.kill()
        await writer.wait()
        memory = ChromaMemory(tmp_path / "m")
        await memory.start()
        found = await memory.recall(HERE, 3)
        assert "first" in [r.case.id for r in found]
        await memory.remember(case_of("after", 0.9, 1.0))
        assert await memory.count() >= 2
        await memory.aclose()


async def test_trimming_goes_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chroma, "PAGE", 7)
    memory = ChromaMemory(tmp_path, keep=40)
    await memory.remember_all([case_of(f"c{i:02}", i / 10, 1.0, at_s=float(i)) for i in range(60)])
    assert await memory.count() == 38
    await memory.aclose()


async def test_a_memory_that_is_nearly_full_is_trimmed_when_it_is_opened(tmp_path: Path) -> None:
    memory = ChromaMemory(tmp_path, keep=40)
    await memory.remember_all([case_of(f"c{i:02}", i / 10, 1.0) for i in range(40)])
    await memory.aclose()
    again = ChromaMemory(tmp_path, keep=40)
    await again.start()
    assert await again.count() == 37  # a twentieth less than 39
    await again.aclose()


async def test_unscored_and_far_away_neighbours_do_not_hide_the_cases_behind_them(tmp_path: Path) -> None:
    memory = ChromaMemory(tmp_path)
    await memory.remember_all([case_of(f"open-{i:03}", 0.5 + i / 1000) for i in range(100)])
    await memory.remember(case_of("behind", 0.9, 1.0))
    assert [r.case.id for r in await memory.recall(HERE, 3)] == ["behind"]
    await memory.aclose()
