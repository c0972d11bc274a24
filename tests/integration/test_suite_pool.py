"""Evaluations over several processes: the same report whatever their number, kept runs, clean ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgewise.compose.evaluate import EvalOptions, Twin, evaluate, passed
from edgewise.domain.errors import BadInput, RunFailed
from evals.scenario import Scenario
from evals.scenario_file import to_yaml
from evals.suite.runner import run_all
from evals.suite.store import Store
from tests.support import fake_simulated
from tests.support.tiny_worlds import tiny_scenario

FAKE = Twin(fake_simulated.simulate, fake_simulated.POLICIES)


def dies(scenario: Scenario, policy: str, seed: int | None = None) -> fake_simulated.FakeSimulated:
    if policy == "dpp":
        os._exit(9)  # as the kernel does when memory runs out
    return fake_simulated.simulate(scenario, policy, seed)


def stumbles(scenario: Scenario, policy: str, seed: int | None = None) -> fake_simulated.FakeSimulated:
    if policy == "dpp":
        raise ValueError("no such thing")
    return fake_simulated.simulate(scenario, policy, seed)


def never(scenario: Scenario, policy: str, seed: int | None = None) -> fake_simulated.FakeSimulated:
    raise AssertionError("this run was kept and must not be made again")


def slow(scenario: Scenario, policy: str, seed: int | None = None) -> fake_simulated.FakeSimulated:
    if policy == "edgewise":
        time.sleep(600)
    return fake_simulated.simulate(scenario, policy, seed)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(to_yaml(tiny_scenario((1.0, 1.0), duration_s=300.0, rate_per_s=1.2)))
    return path


def options(file: Path, out: Path, jobs: int, **more: Any) -> EvalOptions:
    return EvalOptions(str(file), "lew-lru,dpp,edgewise,clairvoyant", seeds=2, out=out, jobs=jobs, **more)


def test_the_report_is_the_same_for_any_number_of_workers(file: Path, tmp_path: Path) -> None:
    one, two = (evaluate(options(file, tmp_path / f"jobs-{n}", n), FAKE) for n in (1, 3))
    assert one == two
    assert passed(one)
    for name in ("report.json", "report.html"):
        assert (tmp_path / "jobs-1" / name).read_bytes() == (tmp_path / "jobs-3" / name).read_bytes()


def test_kept_runs_are_not_made_again_and_a_part_is_completed(file: Path, tmp_path: Path) -> None:
    first = evaluate(options(file, tmp_path / "out", 2), FAKE)
    again = evaluate(options(file, tmp_path / "out", 1), Twin(never, FAKE.policies))
    assert first == again
    one = sorted((tmp_path / "out" / "runs").glob("*.json"))[0]
    before = one.read_bytes()
    one.unlink()
    assert evaluate(options(file, tmp_path / "out", 1), FAKE) == first
    assert one.read_bytes() == before


def test_a_worker_that_dies_is_one_clear_error(file: Path, tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))  # other tests' nodes may be up
    with pytest.raises(RunFailed, match="worker process died") as caught:
        evaluate(options(file, tmp_path / "out", 2), Twin(dies, FAKE.policies))
    assert "kept" in caught.value.hint
    left = [" ".join(p.cmdline()) for p in set(psutil.Process().children(recursive=True)) - before]
    assert not [line for line in left if "resource_tracker" not in line]


def test_a_run_that_breaks_says_which(file: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="ValueError: no such thing") as caught:
        evaluate(options(file, tmp_path / "out", 1), Twin(stumbles, FAKE.policies))
    assert caught.value.where == "dpp, seed 1"


def test_several_scenarios_have_a_report_each_and_one_together(file: Path, tmp_path: Path) -> None:
    heavier = tmp_path / "heavier.yaml"
    heavier.write_text(to_yaml(replace(tiny_scenario((1.0, 1.0), duration_s=300.0, rate_per_s=1.6), name="heavier")))
    asked = replace(options(file, tmp_path / "out", 1), scenario=f"{file},{heavier}")
    found = evaluate(asked, FAKE)
    assert list(found["scenarios"]) == ["tiny", "heavier"]
    for name in ("report.html", "tiny/report.html", "tiny/report.json", "heavier/report.json"):
        assert (tmp_path / "out" / name).is_file()


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({"policies": "clairvoyent"}, "clairvoyant"),
        ({"scenario": "papr7"}, "paper7"),
        ({"seeds": 0}, ""),
        ({"jobs": 0}, ""),
    ],
)
def test_wrong_names_and_numbers_are_refused_before_anything_runs(
    file: Path, tmp_path: Path, wrong: dict[str, Any], hint: str
) -> None:
    with pytest.raises(BadInput) as caught:
        evaluate(replace(options(file, tmp_path / "out", 1), **wrong), Twin(never, FAKE.policies))
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


SCRIPT = """
import sys
from pathlib import Path
from edgewise.cli.frame import guarded
from edgewise.compose.evaluate import EvalOptions, Twin, evaluate
from tests.integration.test_suite_pool import slow
from tests.support.fake_simulated import POLICIES

def main():
    options = EvalOptions(sys.argv[1], "lew-lru,dpp,edgewise", seeds=1, out=Path(sys.argv[2]), jobs=2)
    evaluate(options, Twin(slow, POLICIES))

if __name__ == "__main__":
    sys.exit(guarded(main, False))
"""


def _heed_interrupts() -> None:
    """A shell has what it starts in the background ignore SIGINT, and the tests may have been started so."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_soon_and_finished_runs_are_kept(file: Path, tmp_path: Path, number: signal.Signals) -> None:
    script, out = tmp_path / "script.py", tmp_path / "out"
    script.write_text(SCRIPT)
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, str(script), str(file), str(out)], cwd=root, env={**os.environ, "PYTHONPATH": str(root)},
        stderr=subprocess.PIPE, text=True, preexec_fn=_heed_interrupts,
    )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while len(list((out / "runs").glob("*.json"))) < 3 and time.monotonic() < until:  # the bound and two policies
            time.sleep(0.1)
        children = psutil.Process(process.pid).children(recursive=True)
        asked = time.monotonic()
        process.send_signal(number)
        _, said = process.communicate(timeout=10)
        assert time.monotonic() - asked < 10
        assert process.returncode == 1
        assert said.strip().splitlines()[-1] == "edgewise: interrupted"
        assert "Traceback" not in said
        assert len(list((out / "runs").glob("[0-9a-f]*.json"))) == 3
        gone, alive = psutil.wait_procs(children, timeout=5)
        assert gone
        assert not alive
    finally:
        process.kill()


def test_a_pool_without_work_ends(tmp_path: Path) -> None:
    run_all((), Store(tmp_path), 2, lambda _: None)
