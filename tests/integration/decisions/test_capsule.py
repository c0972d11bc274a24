"""One decision in one file: it replays and forks where the run is not."""

from __future__ import annotations

import gzip
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from edgewise.compose.capsule import make_capsule, read_capsule, write_capsule
from edgewise.compose.fork import fork_slot, read_edit
from edgewise.compose.recorded import open_recorded
from edgewise.compose.replay import replay
from edgewise.domain.errors import BadInput
from tests.support.moody import Moody
from tests.support.recorded_run import recorded_run

SLOT = 8


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded_run(tmp_path_factory.mktemp("runs") / "run", slots=10, chat=Moody())


def taken(run: Path) -> int:
    """A slot that took a language model's result."""
    for t in open_recorded(run).threads:
        result = t.values.get("job", {}).get("result")
        if t.is_slot and result and any(p["source"] == "llm" for p in result["plans"]):
            return t.slot
    raise AssertionError("no slot took a language model's result")


@pytest.mark.parametrize("anonymise", [False, True])
def test_it_replays_and_forks_without_its_run(run: Path, tmp_path: Path, anonymise: bool) -> None:
    slot = taken(run)
    original = fork_slot(open_recorded(run), slot, read_edit(["alpha=3"]))
    made, found = make_capsule(open_recorded(run), slot, anonymise)
    assert found.different == ()
    assert made.recordings
    file = tmp_path / "capsule.json.gz"
    write_capsule(made, file)
    assert {t.id[:2] for t in read_capsule(file).threads} == {"d-", "e-"}
    again = replay(open_recorded(file))
    assert (again.slots, again.identical) == (1, 1)
    forked = fork_slot(open_recorded(file), slot, read_edit(["alpha=3"]))
    assert len(forked.forked.plan.replicas) == len(original.forked.plan.replicas)
    assert forked.futures.differences.objective.mean == pytest.approx(original.futures.differences.objective.mean)
    text = gzip.decompress(file.read_bytes()).decode()
    assert ("edge-1" in text) is not anonymise
    for secret in (str(run), platform.node(), "http://", "llm_api_key"):
        assert secret not in text


def test_a_bent_capsule_is_told_apart(run: Path, tmp_path: Path) -> None:
    made, _ = make_capsule(open_recorded(run), SLOT)
    file = tmp_path / "capsule.json"
    write_capsule(made, file)
    plain = orjson.loads(file.read_bytes())
    plain["threads"][-1]["values"]["job"]["observation"]["telemetry"]["demand"] = []
    file.write_bytes(orjson.dumps(plain))
    assert replay(open_recorded(file)).identical == 0


@pytest.mark.parametrize("content", [b"", b"{}", b"\x1f\x8bnothing", b'{"format": "edgewise-capsule/1"}', b"[1]"])
def test_what_is_no_capsule_is_said(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x"
    file.write_bytes(content)
    with pytest.raises(BadInput):
        open_recorded(file)


def test_the_commands(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.json.gz"
    packed = _edgewise("capsule", str(run), "--slot", str(SLOT), "--out", str(file), "--json")
    assert packed.returncode == 0, packed.stderr
    assert orjson.loads(packed.stdout)["identical"] is True
    alone = shutil.copy(file, tmp_path / "copy")
    done = _edgewise("replay", str(alone), "--json")
    assert orjson.loads(done.stdout) == {"slots": 1, "identical": 1, "different": []}


def _edgewise(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgewise.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)
