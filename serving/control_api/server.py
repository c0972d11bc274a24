"""Runs the control API on a socket of its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from edgewise.domain.errors import BadInput
from serving.control_api.app import create_app
from serving.control_api.replays import Replays
from serving.control_api.run_view import open_run

LINGER_S = 2  # how long open event streams may take to end when the server stops


class _Server(uvicorn.Server):
    """Says when it answers, and leaves signals to its process, which may have more to stop than this server."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._ready = ready
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.set()  # ends the event streams, which would else hold the server open
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one. Raises BadInput when the address cannot be had."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except (OSError, OverflowError) as error:
        sock.close()
        why = getattr(error, "strerror", None) or str(error)
        raise BadInput(
            f"cannot listen: {why.lower()}", where=f"{host}:{port}", hint="choose another --port, or 0 for a free one"
        ) from error
    return sock


async def serve(
    app: FastAPI,
    host: str = "127.0.0.1",
    port: int = 0,
    on_ready: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serves an app of `create_app` until `stop` is set or the task is cancelled.
    on_ready gets the base URL once it answers. Raises BadInput at once when the port is busy."""
    sock = bind(host, port)
    address, bound = sock.getsockname()[:2]
    url = f"http://[{address}]:{bound}" if ":" in address else f"http://{address}:{bound}"
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=LINGER_S)
    server = _Server(config, lambda: on_ready(url) if on_ready else None, app.state.stopping)
    running = asyncio.create_task(server.serve(sockets=[sock]))
    stopped = asyncio.create_task((stop or asyncio.Event()).wait())
    try:
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        # Cancelled or told to stop: uvicorn closes its listener and its connections only when it ends by itself.
        stopped.cancel()
        server.should_exit = True
        await running
        sock.close()


class ServerThread:
    """Serves an app from a thread of its own while the context lasts; `url` is where, `loop` what its view runs on.
    Entering it raises BadInput when the port is busy."""

    def __init__(self, app: FastAPI, host: str = "127.0.0.1", port: int = 0) -> None:
        self._app, self._host, self._port = app, host, port
        self._up = threading.Event()
        self._stop = asyncio.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="control-api", daemon=True)
        self.loop: asyncio.AbstractEventLoop
        self.url = ""

    def __enter__(self) -> ServerThread:
        self._thread.start()
        self._up.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError):  # its loop may have ended by itself
            self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception as error:
            self._error = error  # raised where the context is entered
        finally:
            self._up.set()

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        await serve(self._app, self._host, self._port, self._ready, self._stop)

    def _ready(self, url: str) -> None:
        self.url = url
        self._up.set()


def run_read_only(
    run: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    on_ready: Callable[[str], None] | None = None,
    replays: Replays | None = None,
) -> None:
    """`edgewise control --run DIR --read-only`: serves a stored run until SIGINT or SIGTERM.
    Raises BadInput when `run` is no run directory, has a broken line, or the port is busy."""
    app = create_app(open_run(run), read_only=True, replays=replays)

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        await serve(app, host, port, on_ready, stop)

    asyncio.run(main())
