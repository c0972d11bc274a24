"""`edgewise demo`: the whole system on this machine, on recorded prompts, with real models.

The order of things: check what was asked, start the parts (imports in parallel), fork the nodes, measure service,
choose the load, let the controller place models, replay, wait for answers, stop everything, count.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp

from edgewise.compose.config import ControlConfig, NodeAddress
from edgewise.compose.daemon import in_daemon
from edgewise.compose.demo_load import measure, plan_workload
from edgewise.compose.demo_world import (
    host_cores,
    make_world,
    node_speed,
    scenario_of,
    settings_overrides,
    with_means,
)
from edgewise.compose.intents import moment_now, read_intents
from edgewise.compose.local_parts import LocalParts
from edgewise.compose.models import sources_for
from edgewise.compose.options import HOST, DemoOptions, check, run_folder
from edgewise.compose.replaying import Replaying, get_json
from edgewise.compose.screen import Screen
from edgewise.compose.summary import Extent, SentPrompt, add_rows, missing_rows, summarise
from edgewise.control.intent_entries import Known
from edgewise.domain.decision import Mode
from edgewise.domain.errors import BadInput, EdgewiseError, LoadFailed, RunFailed, SetupError
from edgewise.domain.model import ModelSpec
from edgewise.domain.world import World
from edgewise.settings import load_settings
from evals.bundle import Workload
from evals.ledger import Ledger
from evals.scenario_file import to_yaml
from serving.checkpoints import Source, catalogue, context_tokens
from serving.gateway.config import GatewayConfig, limits_of
from serving.gateway.config import NodeAddress as GatewayNode
from serving.node.config import NodeConfig, Order
from tools.clock import RunClock
from tools.rundir import LOGS, SCENARIO, SUMMARY, create_run_dir, forget_run_dir, read_prompts, write_json

PLACED_TIMEOUT_S = 60.0


def run_demo(options: DemoOptions) -> dict[str, Any]:
    """Run it and give summary.json's content, with what ended it early or went wrong in `failure` ("" when nothing
    did). Raises an EdgewiseError for what stops it before the first prompt; everything that was started is stopped on
    every way out."""
    check(options)
    world = make_world(options, catalogue(options.models), node_speed(options.nodes, host_cores()))
    if options.intents is not None:  # a mistake in it is found before anything starts
        names = [m.id for m in world.models], [n.id for n in world.nodes]
        read_intents(options.intents, Known(*names, moment_now()))
    if options.trace is not None:
        plan_workload(options, world)  # a bad row is found before anything starts
    sources = sources_for(options.models, world.models)
    folder = run_folder(options.out)
    existed = os.path.exists(folder)  # noqa: PTH110  unlike Path.exists it takes any name
    demo = Demo(options, world, create_run_dir(folder), sources)
    try:
        return asyncio.run(demo.run())
    except EdgewiseError as error:
        if not demo.began and (error.exit_code == BadInput.exit_code or demo.interrupted):
            forget_run_dir(folder, existed)  # nothing happened in it, and the next try may want the name
        raise


class Demo:
    """One run of it."""

    def __init__(self, options: DemoOptions, world: World, run: Path, sources: dict[str, Source]) -> None:
        self.options, self.world, self.run_dir, self._sources = options, world, run, sources
        self.clock = RunClock()
        self.settings = load_settings(**settings_overrides(options))
        self._screen = Screen(quiet=options.json)
        self._parts = LocalParts(run, self._screen.say, self._end_early)
        self._stop = asyncio.Event()
        self.interrupted = self.began = False
        self._began = time.monotonic()
        self._bringing_up: asyncio.Task[tuple[Workload, str, str]] | None = None

    async def run(self) -> dict[str, Any]:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
                asyncio.get_running_loop().add_signal_handler(number, self._interrupt)
        return await self._work()

    def _interrupt(self) -> None:
        """A person says stop: once is enough."""
        self.interrupted = True
        self._end_early()

    def _end_early(self) -> None:
        """End the replay, or, before it began, give up. What was started is stopped either way."""
        self._stop.set()
        if self._bringing_up is not None:
            self._bringing_up.cancel()

    async def _ready(self) -> tuple[Workload, str, str]:
        """`_bring_up`, unless it is called off."""
        self._bringing_up = asyncio.create_task(self._bring_up())
        try:
            return await self._bringing_up
        except asyncio.CancelledError:
            if self._parts.failure:
                raise RunFailed(self._parts.failure, where=str(self.run_dir / LOGS)) from None
            raise RunFailed("interrupted before the first prompt was sent") from None
        finally:
            self._bringing_up = None

    async def _work(self) -> dict[str, Any]:
        dashboard = None
        try:
            workload, gateway_url, control_url = await self._ready()
            self.began = True
            if self.options.ui:
                from ui.launch import launch

                dashboard = launch(control_url)
                self._screen.say(f"dashboard {dashboard.url}")
            end_serving = self._parts.end_serving
            replaying = Replaying(gateway_url, control_url, self.clock, self._screen, self._stop, end_serving)
            deadline_s = max(m.deadline_s for m in self.world.models)
            first_s = self.clock.now_s()
            ledger = await replaying.run(workload.rows, first_s, self.options.duration_s, deadline_s + 10.0)
            end_s = self.clock.now_s()
        finally:
            closing = [asyncio.to_thread(dashboard.stop, 1.0)] if dashboard is not None else []
            await asyncio.gather(self._parts.stop(), *closing)
        extent = Extent(self.options.slot_s, first_s, end_s, time.monotonic() - self._began)
        return self._conclude(workload, ledger, extent)

    async def _bring_up(self) -> tuple[Workload, str, str]:
        """Everything up, measured and placed: the workload, the gateway's and the control API's URLs."""
        self._screen.say("starting: store, gateway, controller, node processes")
        await self._parts.start()
        await self._parts.spawn_nodes([self._node_config(i) for i in range(self.options.nodes)])
        self._screen.say("measuring what a prompt takes here")
        measured = replace(self.world, models=await self._measure())
        await self._parts.nodes.limit_cpu({n.id: n.speed for n in self.world.nodes})
        workload = await in_daemon(lambda: plan_workload(self.options, measured))
        speed = max(n.speed for n in self.world.nodes)
        self.world = replace(measured, models=with_means(measured.models, workload.rows, speed))
        for line in workload.description:
            self._screen.say(f"  {line}")
        scenario = scenario_of(self.world, self.options, workload)
        (self.run_dir / SCENARIO).write_text(to_yaml(scenario), encoding="utf-8")
        gateway_url = await self._parts.configure_gateway(self._gateway_config())
        control_url = await self._parts.configure_control(self._control_config(gateway_url))
        self._screen.say(f"gateway {gateway_url}   control API {control_url}   run directory {self.run_dir}")
        await self._placed(control_url)
        return workload, gateway_url, control_url

    async def _measure(self) -> tuple[ModelSpec, ...]:
        """The first time that weights are read: a checkpoint that is broken shows here."""
        try:
            return await measure(self._parts.nodes.urls, self.world)
        except LoadFailed as error:
            hint = "make or fetch that checkpoint again (edgewise models tiny | pull), or give other --models"
            raise SetupError(error.message, hint=hint) from error

    def _node_config(self, index: int) -> NodeConfig:
        world = self.world
        order = Order(self.settings.yielding, self.settings.tenant_weights)
        return NodeConfig(world.nodes[index], world.models, self._sources, self.clock.origin, host=HOST, order=order)

    def _gateway_config(self) -> GatewayConfig:
        return GatewayConfig(
            world=self.world,
            run_dir=str(self.run_dir),
            origin=self.clock.origin,
            nodes=tuple(GatewayNode(node, url) for node, url in self._parts.nodes.urls.items()),
            limits=limits_of(self.settings),
            context_tokens=self._contexts(),
            host=HOST,
            port=self.options.port or 0,
        )

    def _contexts(self) -> dict[str, int]:
        found = {m.id: context_tokens(self._sources[m.id], m.task) for m in self.world.models}
        return {model: tokens for model, tokens in found.items() if tokens is not None}

    def _control_config(self, gateway_url: str) -> ControlConfig:
        nodes = self._parts.nodes
        return ControlConfig(
            world=self.world,
            run_dir=str(self.run_dir),
            nodes=tuple(NodeAddress(n, u, nodes.pids[n]) for n, u in nodes.urls.items()),
            gateways=(gateway_url,),
            settings=settings_overrides(self.options),
            store_url=self._parts.store.url,
            launcher=True,
            origin=self.clock.origin,
            host=HOST,
            port=self.options.port + 1 if self.options.port else 0,
            seed=self.options.seed,
            intents=str(self.options.intents.resolve()) if self.options.intents else "",
        )

    async def _placed(self, control_url: str) -> None:
        """Wait until every kind has a ready replica; then the mode asked for rules. (The first placement is carried
        out in every mode: without it an advisory run would have nothing to advise on.)"""
        until = time.monotonic() + PLACED_TIMEOUT_S
        missing = [m.id for m in self.world.models]
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            while missing and time.monotonic() < until:
                if self._parts.control.given_up:
                    raise RunFailed(self._parts.control.given_up, where=str(self.run_dir / LOGS))
                state = await get_json(http, f"{control_url}/control/v1/state")
                ready = {m["model"] for m in state.get("models", []) if m["replicas"] > 0}
                missing = [m.id for m in self.world.models if m.id not in ready]
                await asyncio.sleep(0.1)
            if missing:
                self._screen.say(f"no replica yet of {', '.join(missing)}; their prompts will wait")
            if self.options.mode is not Mode.ACTIVE:
                await self._set_mode(http, control_url)

    async def _set_mode(self, http: aiohttp.ClientSession, control_url: str) -> None:
        try:
            wanted = {"mode": self.options.mode.value}
            async with http.put(f"{control_url}/control/v1/mode", json=wanted) as answer:
                answer.raise_for_status()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RunFailed(f"the mode could not be set: {error}", where=control_url) from error

    def _conclude(self, workload: Workload, ledger: Ledger, extent: Extent) -> dict[str, Any]:
        failures = [self._parts.failure or self._parts.control.given_up]
        if ledger.lost and not self.interrupted:
            failures.append(f"{ledger.lost} of {ledger.sent} prompts got no answer")
        missing = missing_rows(read_prompts(self.run_dir), sent_prompts(workload, ledger, self.world))
        failures.append(add_rows(self.run_dir, missing))
        summary = summarise(self.run_dir, self.world, extent, missing)
        summary |= {
            "peak_pss_mib": self._parts.peak_mib,
            "wall_s": extent.wall_s,
            "interrupted": self.interrupted,
            "caller": ledger.summary() | {"unrecorded": len(missing)},
            "workload": {
                "description": list(workload.description),
                "shares": list(workload.shares),
                "shift_at_s": workload.shift_at_s,
                "expected_load": workload.realised_load,
            },
        }
        try:
            write_json(self.run_dir / SUMMARY, summary | {"failure": _joined(failures)})
        except RunFailed as error:
            failures.append(error.line())
        summary["failure"] = _joined(failures)
        self._screen.conclude(summary, str(self.run_dir))
        return summary


def _joined(failures: list[str]) -> str:
    return "; ".join(dict.fromkeys(filter(None, failures)))


def sent_prompts(workload: Workload, ledger: Ledger, world: World) -> list[SentPrompt]:
    """What the caller sent, with the deadline and ideal latency of each."""
    size = {row.id: row.request.size for row in workload.rows}
    found = []
    for entry in ledger.entries:
        if entry.sent_s is not None:
            spec = world.model(entry.model)
            ideal_s = world.ideal_s(spec, spec.expected_service_s(size[entry.id]))
            found.append(SentPrompt(entry, spec.deadline_s, ideal_s))
    return found
