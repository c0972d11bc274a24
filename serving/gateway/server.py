"""The gateway process: a listening socket, the parts wired together, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import setproctitle
import uvicorn
import uvloop

from edgewise.domain.errors import BadInput
from edgewise.policy import dispatch
from serving.gateway.admin import Admin
from serving.gateway.app import GatewayApp
from serving.gateway.config import GatewayConfig
from serving.gateway.figures import Figures
from serving.gateway.flow import PromptFlow
from serving.gateway.journal import EventLog
from serving.gateway.poller import Poller
from serving.gateway.state import GatewayState
from serving.gateway.upstream import Upstream
from tools.clock import RunClock

_log = logging.getLogger(__name__)
_GRACE_S = 2.0  # for prompts in flight when told to stop; the whole stop stays under 3.5 s
_IDLE_S = 60  # an idle client connection is kept so long


@dataclass(frozen=True)
class Gateway:
    """The parts of a running gateway."""

    app: GatewayApp
    flow: PromptFlow
    state: GatewayState


class _Server(uvicorn.Server):
    """uvicorn without its signal handling (the process has its own), telling when it listens."""

    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_listening()


def run_gateway(config: GatewayConfig, on_ready: Callable[[int], None] | None = None) -> None:
    """Serves until SIGTERM or SIGINT, then stops within 5 s. `on_ready` is told the bound port once it listens.
    Raises BadInput when the address cannot be had, SetupError when the run directory cannot be written."""
    setproctitle.setproctitle("edgewise: gateway")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_signalled(config, on_ready))


async def serve_gateway(
    config: GatewayConfig, stop: asyncio.Event, on_ready: Callable[[int], None] | None = None
) -> None:
    """The gateway inside a running event loop, until `stop` is set."""
    listener = bind(config.host, config.port)
    try:
        dispatch.precompile()
        async with gateway(config) as parts:
            port = cast(int, listener.getsockname()[1])
            server = _Server(_uvicorn_config(parts.app), lambda: on_ready(port) if on_ready else None)
            serving = asyncio.create_task(server.serve([listener]))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            server.should_exit = True
            await asyncio.wait({serving}, timeout=_GRACE_S)
            parts.flow.break_off()
            await serving
    finally:
        listener.close()


@contextlib.asynccontextmanager
async def gateway(config: GatewayConfig) -> AsyncIterator[Gateway]:
    """The gateway's parts at work, without a listening socket. Open prompts are written as pending at the end."""
    clock, state = RunClock(config.origin), GatewayState(config.world, config.limits)
    run_dir = Path(config.run_dir)
    log, figures = EventLog(run_dir), Figures(config.world)
    upstream = Upstream()
    try:
        flow = PromptFlow(state, upstream, log, figures, clock, run_dir, config.context_tokens)
        poller = Poller(state, upstream, flow, clock)
        state.set_nodes(config.nodes)
        poller.sync()
        try:
            yield Gateway(GatewayApp(flow, Admin(state, flow, poller, figures, clock)), flow, state)
        finally:
            await poller.close()
            flow.write_pending()
    finally:
        await upstream.close()
        log.close()


def bind(host: str, port: int) -> socket.socket:
    """A bound socket. Raises BadInput naming host and port."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            hint = "stop what listens there, or choose another port; 0 takes any free one"
            raise BadInput(f"port {port} on {host} is in use", where="gateway", hint=hint) from error
        reason = error.strerror or str(error)
        raise BadInput(f"cannot listen on {host}:{port}: {reason}", where="gateway") from error
    return listener


def _uvicorn_config(app: GatewayApp) -> uvicorn.Config:
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # its errors are of broken clients; ours are logged
    return uvicorn.Config(
        app,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=4096,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=int(_GRACE_S) + 1,
    )


async def _until_signalled(config: GatewayConfig, on_ready: Callable[[int], None] | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve_gateway(config, stop, on_ready)
