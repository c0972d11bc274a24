"""Starts and stops the dashboard's process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

from edgewise.domain.errors import BadInput, RunFailed
from serving.control_api.app import create_app
from serving.control_api.run_view import open_run
from serving.control_api.server import ServerThread
from tools.process import free_port, require_free
from ui.settings import ENV

HOST = "127.0.0.1"
START_S = 60.0  # streamlit's import on a busy small machine
STOP_S = 5.0
_OPTIONS = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.runOnSave": "false",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "type",
    "theme.light.primaryColor": "#0072B2",  # both, so that the page follows the reader's light or dark setting
    "theme.dark.primaryColor": "#56B4E9",
    "theme.paddingTop": "2.5rem",
    "theme.paddingBottom": "2rem",
    "theme.headingFontSizes": '["2rem", "1.6rem", "1.35rem", "1.15rem", "1rem", "0.9rem"]',
}


@dataclass
class UiProcess:
    """A running dashboard. Its process ends with the thread that launched it: keep that one alive."""

    process: subprocess.Popen[bytes]
    url: str
    log: IO[bytes]

    def wait_ready(self, timeout_s: float = START_S) -> None:
        """Returns when the page is answered. Raises RunFailed with the end of its log when it ends or hangs."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise RunFailed(f"the dashboard ended at once: {self.last_words()}", where=self.url)
            try:
                if httpx.get(f"{self.url}/_stcore/health", timeout=2.0, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        raise RunFailed(f"the dashboard did not answer within {timeout_s:g} s: {self.last_words()}", where=self.url)

    def last_words(self) -> str:
        size = os.fstat(self.log.fileno()).st_size
        # pread: a seek would move the place at which the process goes on writing.
        tail = os.pread(self.log.fileno(), 2000, max(0, size - 2000))
        lines = tail.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def stop(self, timeout_s: float = STOP_S) -> None:
        """Ends the process; safe to call again."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


def launch(api_url: str, port: int = 0, host: str = HOST) -> UiProcess:
    """Starts the dashboard over the control API at `api_url`; port 0 takes a free one. Does not wait for it.
    Raises BadInput for a busy port or what is no URL."""
    if not api_url.startswith(("http://", "https://")):
        raise BadInput(f"{api_url!r} is not a URL", where="--api", hint="it looks like http://127.0.0.1:8801")
    require_free(host, port)
    taken = port or free_port(host)
    options = {**_OPTIONS, "server.address": host, "server.port": str(taken)}
    command = [sys.executable, "-m", "ui.child", str(os.getpid()), "run", str(Path(__file__).with_name("app.py"))]
    command += [f"--{name}={value}" for name, value in options.items()]
    log = tempfile.TemporaryFile()  # noqa: SIM115  closed by UiProcess.stop
    process = subprocess.Popen(
        command,
        env={**os.environ, ENV: api_url},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C reaches us, and we end it
    )
    return UiProcess(process, f"http://{host}:{taken}", log)


def ui_forever(api_url: str, port: int = 0, host: str = HOST, on_ready: Callable[[str], None] | None = None) -> None:
    """Runs the dashboard until SIGINT, SIGTERM or its own end. on_ready gets its URL. Main thread only.
    Raises BadInput as `launch`, RunFailed when the dashboard ends by itself."""
    told = threading.Event()
    before = {n: signal.signal(n, lambda *_: told.set()) for n in (signal.SIGINT, signal.SIGTERM)}
    dashboard = None
    try:
        dashboard = launch(api_url, port, host)
        _ready_or_told(dashboard, told, on_ready)
        while not told.wait(0.3):
            if dashboard.process.poll() is not None:
                raise RunFailed(f"the dashboard ended: {dashboard.last_words()}", where=dashboard.url)
    finally:
        if dashboard is not None:
            dashboard.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def _ready_or_told(dashboard: UiProcess, told: threading.Event, on_ready: Callable[[str], None] | None) -> None:
    until = time.monotonic() + START_S
    while not told.is_set():
        try:
            dashboard.wait_ready(0.5)
        except RunFailed:
            if dashboard.process.poll() is not None or time.monotonic() > until:
                raise
        else:
            if on_ready is not None:
                on_ready(dashboard.url)
            return


def ui_for_run(run: Path, port: int = 0, host: str = HOST, on_ready: Callable[[str], None] | None = None) -> None:
    """`edgewise ui --run DIR`: the dashboard on a stored run until SIGINT or SIGTERM. on_ready gets its URL.
    Raises BadInput when `run` is no run directory, has a broken line, or the port is busy."""
    require_free(host, port)
    with ServerThread(create_app(open_run(run), read_only=True)) as api:
        ui_forever(api.url, port, host, on_ready)
