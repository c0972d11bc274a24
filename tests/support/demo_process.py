"""Demos as a person starts them: a process of its own, looked at from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

STOP_S = 10.0
NEEDED = "torch"


@dataclass
class DemoProcess:
    """A running `edgewise demo`. `roles` gives the pids of its processes by title."""

    process: subprocess.Popen[str]
    run: Path
    errors: Path

    def family(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.Error:
            return []

    def roles(self) -> dict[str, int]:
        found = {}
        for child in self.family():
            try:
                title = " ".join(child.cmdline()).strip()
            except psutil.Error:
                continue
            if title.startswith("edgewise: "):
                found[title.removeprefix("edgewise: ")] = child.pid
        return found

    def prompts(self) -> int:
        path = self.run / "events.jsonl"
        return path.read_text().count('"arrived_s"') if path.exists() else 0

    def wait_for(self, ready: Callable[[], bool], timeout_s: float = 90.0) -> None:
        until = time.monotonic() + timeout_s
        while not ready():
            assert self.process.poll() is None, f"the demo ended early: {self.errors.read_text()[-2000:]}"
            assert time.monotonic() < until, f"waited {timeout_s} s in vain: {self.errors.read_text()[-2000:]}"
            time.sleep(0.1)

    def finish(self, timeout_s: float = 150.0, code: int = 0) -> dict[str, Any]:
        """Wait for the end with that exit code; the JSON document of its stdout."""
        out, _ = self.process.communicate(timeout=timeout_s)
        assert self.process.returncode == code, self.errors.read_text()[-3000:]
        return dict(json.loads(out))


@contextmanager
def demos(folder: Path) -> Iterator[Callable[..., DemoProcess]]:
    """A function that starts demos below `folder`; whatever still runs at the end is stopped."""
    pytest.importorskip(NEEDED, reason="the demo serves real models and needs the serving extra")
    started: list[DemoProcess] = []

    def start(*arguments: str, **environment: str) -> DemoProcess:
        number = len(started)
        errors = folder / f"stderr-{number}.txt"
        run = folder / f"run-{number}"
        with errors.open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "edgewise.cli", "demo", "--json", "--out", str(run), *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | environment,
            )
        demo = DemoProcess(process, run, errors)
        started.append(demo)
        return demo

    try:
        yield start
    finally:
        for demo in started:
            _stop(demo.process)


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_S + 5)
    except subprocess.TimeoutExpired:
        process.kill()
