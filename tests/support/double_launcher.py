"""Starts node doubles as processes; the launcher that tests hand to LocalCluster."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from edgewise.domain.codec import to_json
from edgewise.domain.errors import SetupError
from edgewise.domain.world import World
from tools.local import NodeHandle

ROOT = Path(__file__).resolve().parents[2]
START_S = 30.0


class DoubleLauncher:
    """Implements tools.local.Launcher over tests.support.node_double. Close it to end every process."""

    def __init__(self, world: World, folder: Path, origin: float, broken: tuple[str, ...] = ()) -> None:
        self._world = world
        self._file = folder / "world.json"
        self._file.write_bytes(to_json(world))
        self._origin = origin
        self._broken = broken
        self._newest: dict[str, subprocess.Popen[str]] = {}
        self.refuse_spawn = False
        self.spawned: list[str] = []

    async def spawn(self, node_id: str) -> tuple[int, str]:
        return await asyncio.to_thread(self.spawn_now, node_id)

    def spawn_now(self, node_id: str) -> tuple[int, str]:
        if self.refuse_spawn:
            raise SetupError("no more processes", where=node_id)
        command = [
            sys.executable, "-m", "tests.support.node_double",
            "--node", node_id, "--world", str(self._file), "--origin", repr(self._origin),
        ]  # fmt: skip
        for model in self._broken:
            command += ["--break-load", model]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        old = self._newest.get(node_id)
        if old is not None:
            _end(old)
        self._newest[node_id] = process
        self.spawned.append(node_id)
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise SetupError("the node double ended before it listened", where=node_id)
        return process.pid, url

    def exited(self, node_id: str) -> bool:
        return self._newest[node_id].poll() is not None

    def signal(self, node_id: str, number: signal.Signals) -> None:
        os.kill(self._newest[node_id].pid, number)
        if number is signal.SIGKILL:
            self._newest[node_id].wait(timeout=START_S)

    def handles(self) -> dict[str, NodeHandle]:
        """All nodes of the world, started."""
        return {spec.id: NodeHandle(self.spawn_now(spec.id)[1], spec) for spec in self._world.nodes}

    def close(self) -> None:
        for process in self._newest.values():
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait(timeout=START_S)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
