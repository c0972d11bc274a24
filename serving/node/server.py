"""One node process: Starlette on uvicorn (uvloop, httptools), until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Iterator

import uvicorn

from edgewise.domain.errors import SetupError
from serving.node.config import NodeConfig
from serving.node.http import make_app
from serving.node.node import Node

GRACE_S = 2  # for answers that are being written when the node stops


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # serve_node handles them


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises SetupError when the port is taken."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(512)
    except OSError as error:
        sock.close()
        raise SetupError(
            f"cannot listen: {error.strerror}",
            where=f"{host}:{port}",
            hint="choose another port, or 0 for a free one",
        ) from error
    sock.setblocking(False)
    return sock


async def serve_node(config: NodeConfig, sock: socket.socket, stop: asyncio.Event) -> None:
    """Serve on `sock` until `stop` is set; then cancel all work and close."""
    node = Node(config)
    server = _Server(
        uvicorn.Config(
            make_app(node),
            http="httptools",
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
    )
    serving = asyncio.create_task(server.serve([sock]))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await node.aclose()
        server.should_exit = True
        await serving
    finally:
        stopping.cancel()


def run_node(config: NodeConfig, sock: socket.socket | None = None) -> int:
    """The whole life of a node process; returns its exit code. Its title names the node."""
    import uvloop
    from setproctitle import setproctitle

    setproctitle(f"edgewise: node {config.node.id}")
    logging.basicConfig(level=logging.WARNING, format=f"node {config.node.id}: %(message)s")
    listening = sock or bind(config.host, config.port)

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sig, stop.set)
        await serve_node(config, listening, stop)

    uvloop.run(main())
    return 0


def end_process(code: int) -> None:
    """Leave without waiting for threads that are in the middle of a step."""
    logging.shutdown()
    os._exit(code)
