"""A real Prometheus server on a free port of this machine, and an exporter for it to scrape."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.support.metrics_exporter import Exporter
from tools.process import free_port

START_S = 60.0


def binary() -> str:
    """The server's path; skips the test where there is none."""
    path = shutil.which("prometheus")
    if path is None:
        pytest.skip("no prometheus server here (Debian: apt-get install prometheus)")
    return path


class PrometheusServer:
    """Scrapes `targets` (name → base URL) each `scrape`, a Prometheus duration."""

    def __init__(self, folder: Path, targets: Mapping[str, str], scrape: str) -> None:
        self._folder = folder
        self._config = folder / "prometheus.yml"
        hosts = [url.removeprefix("http://") for url in targets.values()]
        jobs = [{"job_name": "edgewise", "static_configs": [{"targets": hosts}]}]
        timing = {"scrape_interval": scrape, "scrape_timeout": scrape}
        self._config.write_text(yaml.safe_dump({"global": timing, "scrape_configs": jobs}))
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self) -> None:
        # Between finding a free port and listening on it somebody else may take it: then try the next.
        for attempt in range(3):
            port = free_port()
            self.url = f"http://127.0.0.1:{port}"
            command = [
                binary(), f"--config.file={self._config}", f"--storage.tsdb.path={self._folder / f'data{attempt}'}",
                f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
            ]  # fmt: skip
            log = (self._folder / "prometheus.log").open("ab")
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
            log.close()
            if self._ready():
                return
            self.stop()
        raise AssertionError((self._folder / "prometheus.log").read_text()[-2000:])

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=START_S)
            self._process = None

    def _ready(self) -> bool:
        end = time.monotonic() + START_S
        while self._process is not None and self._process.poll() is None and time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2.0) as answer:
                    if answer.status == 200:
                        return True
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.1)
        return False


@contextmanager
def exporter_in_thread() -> Iterator[Exporter]:
    """An Exporter that outlives the event loop of a single test."""
    exporter, loop = Exporter(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(exporter.start(), loop).result(START_S)
        yield exporter
        asyncio.run_coroutine_threadsafe(exporter.stop(), loop).result(START_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_S)
        loop.close()
