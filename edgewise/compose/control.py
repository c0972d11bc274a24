"""The controller process: ports chosen, graphs running, control API serving, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import setproctitle
import uvloop

from agents.chat import OpenAIChat
from agents.metered import Totals
from agents.recordings import RecordingChat
from agents.tool_recordings import recording
from edgewise.compose.case_memory import open_memory
from edgewise.compose.config import ControlConfig
from edgewise.compose.launcher import PipeLauncher
from edgewise.compose.live_intents import LiveIntents
from edgewise.compose.live_view import LiveView, Seen
from edgewise.compose.paths import FIDELITY, default_folder
from edgewise.compose.replays import RunReplays
from edgewise.compose.resume import facts_so_far, past_decisions
from edgewise.control.intake import no_cluster, no_telemetry
from edgewise.control.ports import ChatModel, Telemetry
from edgewise.control.twin_error import read_twin_error
from edgewise.domain.codec import from_json
from edgewise.domain.decision import Mode
from edgewise.domain.errors import EdgewiseError
from edgewise.settings import Settings, load_settings
from graphs.approvals import counts
from graphs.controller import Controller
from graphs.ports import Ports
from serving.control_api.app import create_app
from serving.control_api.metrics import Account, AgentUse
from serving.control_api.server import bind, serve
from tools.clock import RunClock
from tools.history import RunHistory
from tools.journal import RunJournal
from tools.local import LocalCluster, NodeHandle
from tools.router import HttpRouter
from tools.rundir import CHECKPOINTS, RECORDINGS
from tools.scrape import ScrapeTelemetry
from tools.store import DocumentStore

log = logging.getLogger(__name__)
_URLS_EVERY_S = 0.5
_END_S = 2.5  # longest wait for the slot that is running when told to stop


def start_control(config: bytes, on_ready: Callable[[dict[str, Any]], None]) -> None:
    """As a child of a run: configuration from the parent, launcher over the parent's pipe."""
    run_control(from_json(ControlConfig, config, "controller configuration"), on_ready)


def run_control(config: ControlConfig, on_ready: Callable[[dict[str, Any]], None]) -> None:
    """Serve until SIGTERM or SIGINT. Raises BadInput or SetupError when a part cannot be had."""
    setproctitle.setproctitle("edgewise: control")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(config, on_ready))


async def _main(config: ControlConfig, on_ready: Callable[[dict[str, Any]], None]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    settings = with_measured_error(load_settings(**config.settings))
    async with AsyncExitStack() as stack:
        parts = await _parts(config, settings, stack)
        view = LiveView(Path(config.run_dir), config.world, parts.look, _steering(config, parts.controller))
        bind(config.host, config.port).close()  # a busy port is said before anything is decided
        replays, asking = RunReplays(Path(config.run_dir)), parts.controller.asking
        app = create_app(view, asking=asking, intents=parts.intents, replays=replays, account=parts.account)
        serving = asyncio.create_task(
            serve(app, config.host, config.port, lambda url: on_ready({"port": _port(url)}), stop)
        )
        deciding = asyncio.create_task(parts.controller.run())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, deciding, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        await parts.controller.stop()
        await asyncio.wait({deciding}, timeout=_END_S)
        deciding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await deciding
        await serving


def _steering(config: ControlConfig, controller: Controller) -> Callable[[Mode], None]:
    """Sets the mode; a parent that may start us again is told."""

    def steer(mode: Mode) -> None:
        controller.set_mode(mode)
        if config.launcher:
            _tell_parent({"mode": mode.value})

    return steer


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


@dataclass(frozen=True)
class _Parts:
    controller: Controller
    clock: RunClock
    intents: LiveIntents

    def look(self) -> Seen:
        latest, actuator, now_s = self.controller.latest, self.controller.actuator, self.clock.now_s()
        return Seen(
            now_s=now_s,
            slot=max(0, latest.slot),
            epoch=latest.epoch,
            mode=self.controller.mode,
            plan=latest.plan,
            observation=latest.observation,
            cluster=actuator.facts or no_cluster(now_s),
            telemetry=actuator.figures or no_telemetry(now_s),
            realised=self.controller.realised,
            asked_for=self.controller.asked_for,
            approvals_waiting=len(self.controller.asking.book.waiting),
            llm_rests=latest.llm_rests,
        )

    def account(self) -> Account:
        """What the control API's /metrics shows."""
        controller, tally = self.controller, self.controller.tally
        totals, use = (controller.meter.totals if controller.meter is not None else Totals()), tally.llm
        return Account(
            rungs=tally.rungs,
            calls=totals.calls,
            agents={a: AgentUse(t.tokens, t.seconds, t.cost) for a, t in totals.by_agent.items()},
            ladder={
                "repaired": use.repairs,
                "reasked": use.reasks,
                "fallback": use.fallbacks,
                "skipped": use.skipped,
                "tool": use.tool_calls,
            },
            approvals=counts(controller.asking.book),
            rests=bool(controller.latest.llm_rests),
            rested=tally.rested,
        )


def with_measured_error(settings: Settings) -> Settings:
    """The settings with what `edgewise fidelity` measured on this machine, unless they say something themselves.
    Raises BadInput for a measurement that cannot be read."""
    file = default_folder() / FIDELITY
    if settings.twin_error or not file.is_file():
        return settings
    found = read_twin_error(file.read_bytes(), str(file))
    bands = tuple((b.load, b.mean_error, b.half_width) for b in found.bands)
    return settings.model_copy(update={"twin_error": bands})


async def _parts(config: ControlConfig, settings: Settings, stack: AsyncExitStack) -> _Parts:
    run = Path(config.run_dir)
    clock = RunClock(config.origin)
    router = HttpRouter(config.gateways)
    stack.push_async_callback(router.aclose)
    cluster = _cluster(config, settings, clock, stack)
    sources = _sources(config, cluster.urls)
    telemetry = _telemetry(config, settings, clock, sources)
    stack.push_async_callback(telemetry.aclose)
    store = DocumentStore(config.store_url, "edgewise", run) if config.store_url else None
    if store is not None:
        store.start()
    journal = RunJournal(run, store, past=past_decisions(run, clock.now_s()))
    await journal.take_revisions()
    stack.push_async_callback(journal.aclose)
    memory = await open_memory(run, settings)
    stack.push_async_callback(memory.aclose)
    tools = recording(run / RECORDINGS)
    ports = Ports(cluster, telemetry, router, journal, memory, clock, _chat(settings, run), RunHistory(run), tools)
    if ports.chat is not None:
        stack.push_async_callback(ports.chat.aclose)
    await stack.enter_async_context(_nodes_kept_known(router, cluster.urls))
    # Runs share the memory, and two may have directories of one name: the second they began in tells them apart.
    run_id = f"{run.name}-{config.seed}-{int(time.time()):x}"
    controller = Controller(ports, config.world, settings, config.mode, run / CHECKPOINTS, run_id)
    controller.actuator.facts = facts_so_far(run, config.world, clock.now_s())
    intents = LiveIntents(run, config.world, clock, settings, ports.chat, controller.set_intents)
    intents.start(Path(config.intents) if config.intents else None)
    return _Parts(controller, clock, intents)


def _chat(settings: Settings, run: Path) -> ChatModel | None:
    if not settings.llm_url:
        return None
    chat = OpenAIChat(settings.llm_url, settings.llm_model, settings.llm_api_key)
    return RecordingChat(chat, run / RECORDINGS)


def _cluster(config: ControlConfig, settings: Settings, clock: RunClock, stack: AsyncExitStack) -> LocalCluster:
    launcher = _launcher(config, stack)
    handles = {n.id: NodeHandle(n.url, config.world.node(n.id)) for n in config.nodes}
    cluster = LocalCluster(handles, config.world, clock, launcher, dead_after_s=settings.node_dead_after_s)
    stack.push_async_callback(cluster.aclose)
    return cluster


def _launcher(config: ControlConfig, stack: AsyncExitStack) -> PipeLauncher:
    """Over the parent's pipe; without a parent that forks nodes it hears of no exit, so none is restarted."""
    launcher = PipeLauncher(_tell_parent, {n.id: n.pid for n in config.nodes})
    if config.launcher:
        task = asyncio.create_task(_hear_parent(launcher))
        stack.callback(task.cancel)
    return launcher


def _tell_parent(message: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(message) + b"\n")
    sys.stdout.buffer.flush()


async def _hear_parent(launcher: PipeLauncher) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        launcher.hear(line)


def _sources(config: ControlConfig, urls: Callable[[], Mapping[str, str]]) -> Callable[[], Mapping[str, str]]:
    gateways = {f"gateway-{i}" if i else "gateway": url for i, url in enumerate(config.gateways)}
    return lambda: {**urls(), **gateways}


def _telemetry(
    config: ControlConfig, settings: Settings, clock: RunClock, sources: Callable[[], Mapping[str, str]]
) -> Telemetry:
    if config.prometheus_url:
        from tools.prometheus import PrometheusTelemetry

        return PrometheusTelemetry(config.prometheus_url, clock, settings.window_s)
    return ScrapeTelemetry(sources, clock, settings.window_s, settings.scrape_s)


@asynccontextmanager
async def _nodes_kept_known(router: HttpRouter, urls: Callable[[], Mapping[str, str]]) -> AsyncIterator[None]:
    """Tell the gateways where nodes answer whenever that changes: a node that was restarted may have moved."""

    async def watch() -> None:
        known: dict[str, str] = {}
        while True:
            now = dict(urls())
            if now != known:
                try:
                    await router.set_nodes(now)
                    known = now
                except EdgewiseError as error:
                    log.warning("gateway: %s", error.line())
            await asyncio.sleep(_URLS_EVERY_S)

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
