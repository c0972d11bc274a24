"""The gateway as a process of its own: title, signals, ports."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from edgewise.domain.cluster import NodeSpec
from edgewise.domain.codec import to_json
from edgewise.domain.errors import BadInput, ClusterUnavailable
from edgewise.domain.model import ModelSpec, Task
from edgewise.domain.plan import Plan, Source
from edgewise.domain.world import World
from edgewise.settings import load_settings
from serving.gateway.config import GatewayConfig, limits_of
from serving.gateway.server import bind
from tools.router import HttpRouter

SCRIPT = """
import sys
from pathlib import Path
from edgewise.domain.codec import from_json
from serving.gateway.config import GatewayConfig
from serving.gateway.server import run_gateway
run_gateway(from_json(GatewayConfig, Path(sys.argv[1]).read_bytes()), lambda port: print(port, flush=True))
"""
WORLD = World((NodeSpec("n1", 1.0),), (ModelSpec("gpt2", Task.TEXT_GENERATION, 1.0, 1.0),))


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    config = GatewayConfig(WORLD, str(tmp_path / "run"), time.monotonic(), limits=limits_of(load_settings()))
    (tmp_path / "gateway.json").write_bytes(to_json(config))
    made = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "gateway.json")], stdout=subprocess.PIPE, text=True
    )
    yield made
    made.kill()
    made.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_has_a_title_and_stops_on_a_signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    assert process.stdout is not None
    port = int(process.stdout.readline())
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/live", timeout=10) as answer:
        assert answer.status == 200
    assert psutil.Process(process.pid).cmdline()[0].startswith("edgewise: gateway")
    os.kill(process.pid, number)
    assert process.wait(15) == 0
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


def test_a_busy_port_is_named() -> None:
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=f"port {port} on 127.0.0.1 is in use") as caught:
            bind("127.0.0.1", port)
    assert "another port" in caught.value.hint


async def test_a_router_without_a_gateway_says_so() -> None:
    with bind("127.0.0.1", 0) as taken:
        router = HttpRouter([f"http://127.0.0.1:{taken.getsockname()[1]}"])
        try:
            with pytest.raises(ClusterUnavailable):
                await router.publish(Plan("p", Source.OPTIMISER, 0.0, 1.0, ()), "d")
            with pytest.raises(ClusterUnavailable):
                await router.set_nodes({"n1": "http://127.0.0.1:1"})
        finally:
            await router.aclose()
