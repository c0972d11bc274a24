"""Where a run's cases go: the folder all runs share, one that is named, or the run's own."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from edgewise.compose.case_memory import memory_folder, open_memory
from edgewise.domain.errors import SetupError
from edgewise.domain.records import Situation
from edgewise.settings import load_settings
from tests.support.planner_world import case_of

HERE = Situation((("load", 0.5), ("pressure", 0.5)))


def test_the_folder_is_the_users_unless_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert memory_folder(tmp_path, load_settings(memory_dir="")) == Path("/data/edgewise/memory")
    assert memory_folder(tmp_path, load_settings(memory_dir="/mine")) == Path("/mine")
    assert memory_folder(tmp_path, load_settings(memory_dir="run")) == tmp_path / "memory"


async def test_cases_outlive_a_run_and_a_second_run_at_once_keeps_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = load_settings(memory_dir=str(tmp_path / "shared"))
    first = await open_memory(tmp_path / "run-1", settings)
    await first.remember(case_of("a", 0.5, 1.0))
    with caplog.at_level(logging.WARNING):
        beside = await open_memory(tmp_path / "run-2", settings)
    assert "in use by another process" in caplog.text
    assert str(tmp_path / "run-2" / "memory") in caplog.text
    assert await beside.count() == 0
    await first.aclose()
    await beside.aclose()
    later = await open_memory(tmp_path / "run-3", settings)
    assert [r.case.id for r in await later.recall(HERE, 3)] == ["a"]
    await later.aclose()


async def test_a_corrupt_shared_folder_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "chroma.sqlite3").write_bytes(b"garbage" * 1000)
    with pytest.raises(SetupError, match="cannot open the case memory") as caught:
        await open_memory(tmp_path / "run", load_settings(memory_dir=str(tmp_path / "shared")))
    assert "\n" not in caught.value.line()
    assert "move the folder away" in caught.value.line()
