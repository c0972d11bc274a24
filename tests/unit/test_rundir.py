"""The run directory refuses what would lose data, and reads what a run that was cut off left."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import pytest

from edgewise.domain.errors import BadInput, SetupError
from tools import rundir
from tools.rundir import LineWriter, create_run_dir, forget_run_dir, read_lines, write_json

Usage = namedtuple("Usage", "total used free")


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(BadInput, match="not empty"):
        create_run_dir(tmp_path)


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(BadInput, match="not a folder"):
        create_run_dir(tmp_path / "f")


def test_a_full_disk_is_said_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rundir.shutil, "disk_usage", lambda _: Usage(2**30, 2**30, 2**20))
    with pytest.raises(SetupError, match="no disk space for the store: 1 MiB free, 64 MiB needed"):
        create_run_dir(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_torn_last_line_is_left_out_and_a_broken_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"a":1}\n{"a":2}\n{"a":')
    assert [row for _, row in read_lines(path)] == [{"a": 1}, {"a": 2}]
    path.write_bytes(b'{"a":1}\nnot json\n{"a":2}\n')
    with pytest.raises(BadInput) as caught:
        list(read_lines(path))
    assert caught.value.where == f"{path}:2"


def test_two_writers_share_a_file_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    one, two = LineWriter(path), LineWriter(path)
    for number in range(50):
        one.append({"from": 1, "n": number})
        two.append({"from": 2, "n": number})
    one.close()
    two.close()
    assert len(list(read_lines(path))) == 100


def test_a_document_is_written_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "summary.json", {"slots": 3})
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


def test_a_run_that_came_to_nothing_leaves_no_folder(tmp_path: Path) -> None:
    made = create_run_dir(tmp_path / "run")
    (made / "logs" / "control.log").write_text("x")
    forget_run_dir(made, keep_folder=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_before_stays(tmp_path: Path) -> None:
    create_run_dir(tmp_path)
    (tmp_path / "events.jsonl").write_text("")
    forget_run_dir(tmp_path, keep_folder=True)
    assert list(tmp_path.iterdir()) == []
