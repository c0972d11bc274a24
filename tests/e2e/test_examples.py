"""The pages under examples/, run as they stand: their shell blocks, in order, in a copy with free ports."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgewise.domain.records import PromptRow, PromptStatus
from tools.process import free_port
from tools.rundir import read_prompts

pytestmark = pytest.mark.timeout(240)
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PORTS = ("8800", "8801", "8802", "8900")
# Whatever a block leaves running ends with the script; bash says nothing of its own about that.
HEAD = "set -euo pipefail\ntrap 'jobs -p | xargs -r kill 2>/dev/null || true' EXIT\n"


def blocks(page: str) -> str:
    """The shell blocks of a page, one after the other."""
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE))


def run_page(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the commands of examples/NAME/README.md in `folder`, on ports of their own."""
    pytest.importorskip("torch", reason="the examples serve real models and need the serving extra")
    for program in ("bash", "curl", "base64"):
        if shutil.which(program) is None:
            pytest.skip(f"the examples use {program}, which is not installed here")
    shutil.copytree(EXAMPLES, folder / "examples")
    free = {port: str(free_port()) for port in PORTS}
    for path in [p for p in (folder / "examples").rglob("*") if p.suffix in (".md", ".yaml")]:
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub("|".join(PORTS), lambda m: free[m[0]], text), encoding="utf-8")
    script = HEAD + blocks((folder / "examples" / name / "README.md").read_text(encoding="utf-8"))
    # Not resolved: the link of a virtual environment is what makes it one.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = subprocess.Popen(
        ["bash", "-c", script],
        cwd=folder,
        env=os.environ | {"PATH": path, "no_proxy": "127.0.0.1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=200)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(script, process.returncode, out, err)


@pytest.mark.slow
def test_the_trace_is_replayed(tmp_path: Path) -> None:
    done = run_page("trace", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads((tmp_path / "runs/made-up/summary.json").read_text())
    rows = len((EXAMPLES / "trace" / "made-up.csv").read_text().splitlines()) - 1
    assert summary["prompts_accepted"] == summary["prompts_completed"] == rows == 20
    assert summary["per_model"]["gpt2-large"]["prompts_completed"] == 5  # one of them named by the `model` column
    assert "1 clipped" in done.stderr


def test_parts_started_by_hand_answer_every_kind_of_prompt(tmp_path: Path) -> None:
    done = run_page("by-hand", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    runs = tmp_path / "runs"
    assert json.loads((runs / "text.json").read_text())["choices"][0]["text"]
    picture = (runs / "house.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert (int.from_bytes(picture[16:20]), int.from_bytes(picture[20:24])) == (64, 64)
    assert json.loads((runs / "caption.json").read_text())["choices"][0]["message"]["content"]
    # What `edgewise plan` prints depends on the slot observed: a choice, none, or still the first fill.
    assert re.search(r"predicted objective|no replica moves|^  load +\S+ on edge-", done.stdout, re.MULTILINE)
    _check_rows(read_prompts(runs / "by-hand"))
    decisions: list[dict[str, Any]] = [
        json.loads(line) for line in (runs / "by-hand/decisions.jsonl").read_text().splitlines()
    ]
    assert sum(c["kind"] == "load" for c in decisions[0]["changes"]) >= 4
    for part in ("node edge-1", "node edge-2", "gateway", "control"):
        assert f"edgewise: {part} on http://127.0.0.1:" in done.stderr
    assert "Traceback" not in done.stderr


def _check_rows(rows: list[PromptRow]) -> None:
    assert [r.model for r in rows] == ["gpt2", "stable-diffusion", "blip"]
    for row in rows:
        assert row.status is PromptStatus.COMPLETED
        # Parts that were started at different times must count on one clock.
        assert row.started_s is not None
        assert row.finished_s is not None
        assert row.arrived_s <= row.started_s <= row.finished_s
