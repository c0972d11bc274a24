"""`edgewise demo`: the whole system on this machine, on recorded prompts, with real models.

The order of things: check what was asked, start the parts (imports in parallel), fork the nodes, measure service,
choose the load, let the controller place models, replay, wait for answers, stop everything, count.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import aiohttp

from edgewise.compose.children import Child
from edgewise.compose.config import ControlConfig, NodeAddress
from edgewise.compose.demo_world import (
    host_cores,
    make_world,
    scenario_of,
    settings_overrides,
    with_means,
    with_profiles,
)
from edgewise.compose.launcher import answer_launcher
from edgewise.compose.models import sources_for
from edgewise.compose.options import HOST, DemoOptions, check, run_folder
from edgewise.compose.pss import tree_pss_mib
from edgewise.compose.screen import Screen
from edgewise.compose.summary import Extent, SentPrompt, add_missing_rows, summarise
from edgewise.compose.supervisor import NodeSupervisor
from edgewise.domain.codec import to_json
from edgewise.domain.decision import Mode
from edgewise.domain.errors import RunFailed
from edgewise.domain.world import World
from edgewise.settings import load_settings
from evals.calibrate import calibrate
from evals.ledger import Ledger
from evals.replayer import Replay
from evals.scenario import to_yaml
from evals.traces import trace_folder
from evals.workload import Workload, default_workload, trace_workload
from serving.checkpoints import catalogue
from serving.gateway.config import GatewayConfig, limits_of
from serving.gateway.config import NodeAddress as GatewayNode
from serving.node.config import NodeConfig
from tools.clock import RunClock
from tools.rundir import LOGS, SCENARIO, STORE, SUMMARY, create_run_dir, write_json
from tools.store import StoreChild

# Part of the host's cores that prompts may need on average; the rest is for bursts, HTTP and the controller.
TARGET_LOAD = 0.45
PLACED_TIMEOUT_S = 60.0
PSS_EVERY_S = 5.0


def run_demo(options: DemoOptions) -> dict[str, Any]:
    """Run it and give summary.json's content. Raises an EdgewiseError for whatever stops it early; everything that
    was started is stopped on every way out."""
    check(options)
    world = make_world(options, catalogue(), host_cores())
    if options.trace is not None:
        plan_workload(options, world)  # a bad row is found before anything starts
    sources = sources_for(options.models, world.models)
    run = create_run_dir(run_folder(options.out))
    return asyncio.run(Demo(options, world, run, sources).run())


def plan_workload(options: DemoOptions, world: World) -> Workload:
    profiles = {m.id: m.service for m in world.models if m.service is not None}
    cores = world.host_cores or 1.0
    if options.trace is not None:
        speedup = options.speedup or 1.0
        return trace_workload(
            options.trace, world, profiles, options.duration_s, cores, TARGET_LOAD, speedup, options.seed
        )
    folder = trace_folder()
    return default_workload(
        world, profiles, folder, options.duration_s, cores, TARGET_LOAD, options.speedup, options.seed
    )


class Demo:
    """One run of it."""

    def __init__(self, options: DemoOptions, world: World, run: Path, sources: dict[str, Any]) -> None:
        self.options, self.world, self.run_dir, self._sources = options, world, run, sources
        self.clock = RunClock()
        self.settings = load_settings(**settings_overrides(options))
        self._stop = asyncio.Event()
        self._started = time.monotonic()
        self._store = StoreChild(run / STORE)
        self._gateway = Child("gateway", run / LOGS)
        self._control = Child("control", run / LOGS)
        self._nodes = NodeSupervisor(run / LOGS / "nodes.log", self._node_exited)
        self._screen = Screen(quiet=options.json)
        self._peak_mib = 0.0
        self._http: aiohttp.ClientSession | None = None
        self._tasks: list[asyncio.Task[Any]] = []

    async def run(self) -> dict[str, Any]:
        work = asyncio.create_task(self._work())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupt, work)
        try:
            return await work
        except asyncio.CancelledError:
            raise RunFailed("interrupted before the first prompt was sent", where=str(self.run_dir)) from None

    def _interrupt(self, work: asyncio.Task[Any]) -> None:
        """First signal: end the replay, or, before it began, give up. What was started is stopped either way."""
        if self._replaying:
            self._stop.set()
        elif not self._stop.is_set():
            self._stop.set()
            work.cancel()

    _replaying = False

    async def _work(self) -> dict[str, Any]:
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as self._http:
                workload, gateway, control = await self._bring_up()
                ledger, first_s = await self._replay(workload, gateway, control)
                end_s = self.clock.now_s()
        finally:
            await self._stop_everything()
        return self._conclude(workload, ledger, first_s, end_s)

    # ---- up ----

    async def _bring_up(self) -> tuple[Workload, str, str]:
        self._screen.say("starting: store, gateway, controller, node processes")
        self._tasks.append(asyncio.create_task(self._sample_memory()))
        await asyncio.gather(self._gateway.start(), self._control.start())
        await asyncio.to_thread(self._store.start)
        await asyncio.gather(self._nodes.start(), asyncio.to_thread(self._store.wait_ready))
        await self._nodes.spawn_all([self._node_config(i) for i in range(self.options.nodes)])
        self._screen.say("measuring what a prompt takes here")
        workload = await self._measure()
        for line in workload.description:
            self._screen.say(f"  {line}")
        gateway_url, control_url = await self._configure()
        await self._placed(control_url)
        if self.options.ui:
            await self._open_dashboard(control_url)
        if self.options.mode is not Mode.ACTIVE:
            await self._call("PUT", f"{control_url}/control/v1/mode", {"mode": self.options.mode.value})
        return workload, gateway_url, control_url

    def _node_config(self, index: int) -> NodeConfig:
        return NodeConfig(
            node=self.world.nodes[index],
            models=self.world.models,
            sources=self._sources,
            origin=self.clock.origin,
            host=HOST,
        )

    async def _measure(self) -> Workload:
        measured = await calibrate(self._nodes.urls, self.world)
        models = with_profiles(self.world.models, measured.profiles, measured.load_s)
        self.world = replace(self.world, models=models)
        workload = plan_workload(self.options, self.world)
        self.world = replace(self.world, models=with_means(models, workload.rows))
        scenario = scenario_of(self.world, self.options, workload.shift_at_s)
        (self.run_dir / SCENARIO).write_text(to_yaml(scenario), encoding="utf-8")
        return workload

    async def _configure(self) -> tuple[str, str]:
        port = self.options.port or 0
        gateway = GatewayConfig(
            world=self.world,
            run_dir=str(self.run_dir),
            origin=self.clock.origin,
            nodes=tuple(GatewayNode(node, url) for node, url in self._nodes.urls.items()),
            limits=limits_of(self.settings),
            host=HOST,
            port=port,
        )
        ready = await self._gateway.configure(to_json(gateway))
        gateway_url = f"http://{HOST}:{ready['port']}"
        control = ControlConfig(
            world=self.world,
            run_dir=str(self.run_dir),
            nodes=tuple(NodeAddress(n, u, self._nodes.pids[n]) for n, u in self._nodes.urls.items()),
            gateways=(gateway_url,),
            settings=settings_overrides(self.options),
            store_url=self._store.url,
            launcher=True,
            origin=self.clock.origin,
            host=HOST,
            port=port + 1 if port else 0,
            seed=self.options.seed,
        )
        ready = await self._control.configure(to_json(control))
        self._tasks.append(
            asyncio.create_task(answer_launcher(self._control.lines(), self._nodes.spawn, self._control.send))
        )
        control_url = f"http://{HOST}:{ready['port']}"
        self._screen.say(f"gateway {gateway_url}   control API {control_url}   run directory {self.run_dir}")
        return gateway_url, control_url

    async def _placed(self, control_url: str) -> None:
        """Wait until every kind has a replica that is ready, or say which has none."""
        until = time.monotonic() + PLACED_TIMEOUT_S
        missing = [m.id for m in self.world.models]
        while missing and time.monotonic() < until:
            state = await self._get(f"{control_url}/control/v1/state")
            ready = {m["model"] for m in state.get("models", []) if m["replicas"] > 0}
            missing = [m.id for m in self.world.models if m.id not in ready]
            if not self._control.alive:
                raise RunFailed(f"the controller ended: {self._control.tail()}", where=str(self.run_dir / LOGS))
            await asyncio.sleep(0.2)
        if missing:
            self._screen.say(f"no replica yet of {', '.join(missing)}; their prompts will wait")

    async def _open_dashboard(self, control_url: str) -> None:
        from ui.launch import launch

        handle = await asyncio.to_thread(launch, control_url)
        self._screen.say(f"dashboard {handle.url}")
        self._dashboard_stop: Callable[[], None] | None = handle.stop

    _dashboard_stop = None

    # ---- run ----

    async def _replay(self, workload: Workload, gateway_url: str, control_url: str) -> tuple[Ledger, float]:
        first_s = self.clock.now_s()
        replay = Replay(workload.rows, gateway_url, self.clock, first_s)
        window = (first_s, first_s + self.options.duration_s)
        self._replaying = True
        grace_s = max(m.deadline_s for m in self.world.models) + 10.0
        sending = asyncio.create_task(replay.run(grace_s, None))
        ending = asyncio.create_task(self._end_of_window(window[1], replay))
        interrupted = asyncio.create_task(self._stop.wait())
        with self._screen.live():
            while not sending.done():
                await asyncio.wait({sending, interrupted}, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
                if interrupted.done():
                    replay.stop()
                    await asyncio.wait({sending}, timeout=2.0)
                    sending.cancel()
                    await asyncio.gather(sending, return_exceptions=True)
                    break
                await self._show(replay, gateway_url, control_url, window)
        for task in (ending, interrupted):
            task.cancel()
        return replay.ledger(), first_s

    async def _end_of_window(self, end_s: float, replay: Replay) -> None:
        await self.clock.sleep(end_s - self.clock.now_s())
        replay.stop()

    async def _show(self, replay: Replay, gateway_url: str, control_url: str, window: tuple[float, float]) -> None:
        state = await self._get(f"{control_url}/control/v1/state")
        counts = (await self._get(f"{gateway_url}/edgewise/v1/state")).get("models", {})
        progress = replay.progress()
        self._screen.show(state, counts, self.clock.now_s(), window, progress.answered, progress.sent)

    async def _get(self, url: str) -> dict[str, Any]:
        """A JSON answer, or {} when there is none right now: the screen must not end the run."""
        assert self._http is not None
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
            async with self._http.get(url) as answer:
                if answer.status == 200:
                    return dict(await answer.json())
        return {}

    async def _call(self, method: str, url: str, body: dict[str, Any]) -> None:
        assert self._http is not None
        async with self._http.request(method, url, json=body) as answer:
            if answer.status >= 300:
                raise RunFailed(f"{method} {url} answered {answer.status}: {(await answer.text())[:200]}")

    async def _sample_memory(self) -> None:
        import os

        while True:
            self._peak_mib = max(self._peak_mib, await asyncio.to_thread(tree_pss_mib, os.getpid()))
            await asyncio.sleep(PSS_EVERY_S)

    async def _node_exited(self, node: str, pid: int) -> None:
        self._screen.say(f"{node}: process {pid} ended; the controller is told")
        await self._control.send({"exited": node, "pid": pid})

    # ---- down ----

    async def _stop_everything(self) -> None:
        """In the order in which nobody misses the other: controller, gateway, nodes, store."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._dashboard_stop is not None:
            await _quietly(asyncio.to_thread(self._dashboard_stop))
        await _quietly(self._control.stop(4.0))
        await _quietly(self._gateway.stop(3.0))
        await _quietly(self._nodes.stop())
        await _quietly(asyncio.to_thread(self._store.stop, 2.0))

    def _conclude(self, workload: Workload, ledger: Ledger, first_s: float, end_s: float) -> dict[str, Any]:
        spec = {m.id: m for m in self.world.models}
        size = {row.id: row.request.size for row in workload.rows}
        sent = [
            SentPrompt(
                e.id, e.model, e.access_node, e.sent_s, spec[e.model].deadline_s,
                self.world.ideal_s(spec[e.model], spec[e.model].expected_service_s(size[e.id])),
            )
            for e in ledger.entries
            if e.sent_s is not None
        ]  # fmt: skip
        unrecorded = add_missing_rows(self.run_dir, sent)
        extent = Extent(self.options.slot_s, first_s, end_s, time.monotonic() - self._started)
        summary = summarise(self.run_dir, self.world, extent)
        summary |= {
            "peak_pss_mib": self._peak_mib,
            "wall_s": extent.wall_s,
            "interrupted": self._stop.is_set(),
            "caller": ledger.summary() | {"unrecorded": unrecorded},
            "workload": {
                "description": list(workload.description),
                "shares": list(workload.shares),
                "shift_at_s": workload.shift_at_s,
                "expected_load": workload.realised_load,
            },
            "settings": asdict_json(self.options),
        }
        write_json(self.run_dir / SUMMARY, summary)
        self._screen.conclude(summary, str(self.run_dir))
        return summary


def asdict_json(options: DemoOptions) -> dict[str, Any]:
    return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(options).items()}


async def _quietly(work: Awaitable[Any]) -> None:
    """One part that will not stop must not keep the others running."""
    with contextlib.suppress(Exception):
        await work
