"""The control API on a real socket: ready, busy port, event stream, clean stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from edgewise.domain.errors import BadInput
from serving.control_api.app import create_app
from serving.control_api.server import run_read_only, serve
from tests.support.live_view import LiveView
from tests.support.make_run import make_run


@asynccontextmanager
async def served(view: LiveView) -> AsyncIterator[str]:
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    task = asyncio.create_task(serve(create_app(view), on_ready=ready.set_result, stop=stop))
    try:
        yield await asyncio.wait_for(ready, 20)
    finally:
        stop.set()
        await asyncio.wait_for(task, 20)


def closed(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) != 0


async def test_serves_and_stops() -> None:
    async with served(LiveView()) as url, httpx.AsyncClient(trust_env=False) as api:
        assert (await api.get(f"{url}/control/v1/state")).json()["run"] == "runs/live"
    assert closed(url)


async def test_cancelling_closes_the_port() -> None:
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(create_app(LiveView()), on_ready=ready.set_result))
    url = await asyncio.wait_for(ready, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 20)
    assert closed(url)


async def test_stream_over_the_socket_and_a_stop_with_a_reader_attached() -> None:
    view = LiveView()
    async with httpx.AsyncClient(trust_env=False, timeout=20) as api:
        async with served(view) as url:
            request = api.build_request("GET", f"{url}/control/v1/events", headers={"Accept": "text/event-stream"})
            answer = await api.send(request, stream=True)
            assert answer.headers["content-type"].startswith("text/event-stream")
            source = answer.aiter_lines()
            await asyncio.wait_for(view.listening.wait(), 20)
            await view.advance()
            assert await asyncio.wait_for(_first_event(source), 20) == "event: prompt"
        # The server has stopped though a reader was attached: the stream has an end, not a broken connection.
        async for _ in source:
            pass
        await answer.aclose()


async def _first_event(source: AsyncIterator[str]) -> str:
    async for line in source:
        if line.startswith("event:"):
            return line
    return ""


async def test_a_busy_port_is_bad_input() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BadInput) as caught:
            await serve(create_app(LiveView()), port=port)
    assert caught.value.where == f"127.0.0.1:{port}"
    assert "--port" in caught.value.hint


async def test_a_port_that_is_none_is_bad_input() -> None:
    with pytest.raises(BadInput):
        await serve(create_app(LiveView()), port=70000)


def test_run_read_only_refuses_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        run_read_only(tmp_path)


def test_run_read_only_ends_on_sigterm(tmp_path: Path) -> None:
    make_run(tmp_path, epochs=1)
    code = (
        "import sys; from pathlib import Path; from serving.control_api.server import run_read_only\n"
        "run_read_only(Path(sys.argv[1]), on_ready=lambda url: (sys.stdout.write(url + '\\n'), sys.stdout.flush()))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        state = httpx.get(f"{url}/control/v1/state", trust_env=False).json()
        assert (state["source"], state["read_only"], state["slot"]) == ("stored", True, 4)
        put = httpx.put(f"{url}/control/v1/mode", json={"mode": "off"}, trust_env=False)
        assert put.status_code == 409
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait()
