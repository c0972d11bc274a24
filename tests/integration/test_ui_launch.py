"""The dashboard's process: starts on a stored run, ends on a signal, never outlives its parent."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from edgewise.domain.errors import BadInput, RunFailed
from tests.support.make_run import make_run
from ui.launch import launch, ui_for_run, ui_forever

_MAIN = """
import sys
from pathlib import Path
from ui.launch import ui_for_run
ui_for_run(Path(sys.argv[1]), on_ready=lambda url: print(url, flush=True))
"""


@contextmanager
def running(run: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen([sys.executable, "-c", _MAIN, str(run)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def closed_within(url: str, limit_s: float) -> bool:
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) != 0:
                return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -9)])
def test_nothing_is_left_when_it_ends(tmp_path: Path, number: signal.Signals, code: int) -> None:
    make_run(tmp_path, epochs=1)
    with running(tmp_path) as (process, url):
        assert httpx.get(f"{url}/_stcore/health", trust_env=False).text == "ok"
        process.send_signal(number)
        assert process.wait(15) == code
        assert closed_within(url, 15)


def test_what_is_no_run_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not a run directory"):
        ui_for_run(tmp_path)


def test_a_busy_port_starts_nothing(tmp_path: Path) -> None:
    make_run(tmp_path, epochs=1)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BadInput, match="in use"):
            ui_for_run(tmp_path, port)
        with pytest.raises(BadInput, match="in use"):
            launch("http://127.0.0.1:1", port)


def test_what_is_no_url_is_bad_input() -> None:
    with pytest.raises(BadInput, match="not a URL"):
        ui_forever("localhost:8801")


def test_a_dashboard_that_ends_is_told_with_its_last_words() -> None:
    dashboard = launch("http://127.0.0.1:1")
    try:
        dashboard.process.kill()
        dashboard.process.wait(10)
        with pytest.raises(RunFailed, match="ended at once"):
            dashboard.wait_ready()
    finally:
        dashboard.stop()
    dashboard.stop()  # again does no harm
