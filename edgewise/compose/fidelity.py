"""`edgewise fidelity`: the same prompts on a real cluster of this machine and in the twin, band by band of load.

The order of things: nodes up, loaded, held to their quota; calibration prompts; gateway; what a prompt costs besides
its service; then each band with calibration prompts before and after it, and once more where chance left too much
open; at last the twin.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import aiohttp

from edgewise.compose.daemon import in_daemon
from edgewise.compose.fidelity_cluster import Cluster
from edgewise.compose.fidelity_stand import SEEDS, Stand
from edgewise.compose.interruptible import until_signalled
from edgewise.compose.models import sources_for
from edgewise.compose.paths import FIDELITY, default_folder
from edgewise.domain.codec import to_plain
from edgewise.domain.errors import BadInput
from edgewise.domain.model import ServiceProfile
from evals.fidelity.back_to_back import measure_gap_s
from evals.fidelity.calibration import first_look
from evals.fidelity.gateway_door import GatewayDoor, Requests
from evals.fidelity.page import page
from evals.fidelity.prompting import calibration_prompts
from evals.fidelity.report import FORMAT, Band, Fidelity, Held
from evals.fidelity.world import FidelityWorld, make_world, placement_for, quota_for, shares_for, with_services
from evals.profiles.fit import scaled
from evals.profiles.record import sized, this_machine
from evals.traces import trace_folder
from serving.checkpoints import catalogue
from tools.rundir import LOGS, create_run_dir, write_json

MODELS = "tiny"
PAGE = "fidelity.html"
CALIBRATION_PROMPTS = 8  # per model and block
WIDE = 0.08  # a band whose interval reaches further than this on each side is run once more …
AGAIN_UNTIL = 4.6  # … when that can begin before this many times a band's duration
OTHERS = 0.1  # cores; more than this taken by other work is said


@dataclass(frozen=True, slots=True)
class FidelityOptions:
    """duration_s: of each band; out: a folder, None: the user's data folder. by: TURNSTILE leaves cgroups alone."""

    nodes: int = 2
    duration_s: float = 70.0
    bands: tuple[float, ...] = (0.3, 0.6, 0.8)
    out: Path | None = None
    seed: int = 1
    by: str = ""

    def check(self) -> None:
        """Raise BadInput for what cannot work."""
        placement_for(self.nodes)
        if not 1.0 <= self.duration_s <= 3600.0:
            raise BadInput(f"--duration {self.duration_s:g}: seconds per band, 1 to 3600")
        if not self.bands:
            raise BadInput("--bands: at least one load", hint="for example --bands 0.3,0.6,0.8")
        for load in self.bands:
            if not 0.05 <= load <= 0.95:
                raise BadInput(f"--bands {load:g}: loads are parts of the capacity, 0.05 to 0.95")


def parse_bands(text: str) -> tuple[float, ...]:
    """`0.3,0.6,0.8`. Raises BadInput."""
    try:
        return tuple(sorted({float(part) for part in text.split(",") if part.strip()}))
    except ValueError as error:
        raise BadInput(f"--bands {text!r}: loads separated by commas", hint="for example 0.3,0.6,0.8") from error


def run_fidelity(options: FidelityOptions, say: Callable[[str], None]) -> Fidelity:
    """Measure, write fidelity.json, fidelity.html and the scenarios into the folder, and give the record. Raises an
    EdgewiseError; what was started is stopped on every way out."""
    options.check()
    folder = options.out or default_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="edgewise-fidelity-") as scratch:
        run_dir = create_run_dir(Path(scratch) / "run")
        try:
            found = asyncio.run(until_signalled(_Fidelity(options, folder, run_dir, say).run()))
        except BaseException:
            shutil.copytree(run_dir / LOGS, folder / LOGS, dirs_exist_ok=True)  # what the parts said, to look into
            raise
    write_json(folder / FIDELITY, to_plain(found))
    (folder / PAGE).write_text(page(found), encoding="utf-8")
    say(f"written: {folder / FIDELITY}, {folder / PAGE}")
    return found


class _Fidelity:
    """One measurement."""

    def __init__(self, options: FidelityOptions, folder: Path, run_dir: Path, say: Callable[[str], None]) -> None:
        self._options, self._folder, self._run_dir, self._say = options, folder, run_dir, say
        self._placement = placement_for(options.nodes)
        self._quota = quota_for(options.nodes, len(os.sched_getaffinity(0)))
        self._models = catalogue(MODELS)
        self._sources = sources_for(MODELS, self._models)
        self._traces = trace_folder()
        self._began_s = time.monotonic()

    async def run(self) -> Fidelity:
        world = make_world(self._placement, self._models, self._quota)
        cluster = Cluster(self._run_dir, world, self._sources, self._say)
        try:
            self._say("starting node processes")
            await cluster.start()
            await cluster.place(self._placement)
            held = await cluster.hold(self._quota, self._options.by)
            self._say(f"each node is held to {self._quota:.2f} cores by {held.by}")
            connector = aiohttp.TCPConnector(limit=0, force_close=True)  # each prompt on a connection of its own
            async with aiohttp.ClientSession(connector=connector) as session:
                stand = await self._stand(cluster, held, session)
                bands = await self._bands(stand)
            return self._report(stand, bands)
        finally:
            await cluster.stop()

    async def _stand(self, cluster: Cluster, held: Held, session: aiohttp.ClientSession) -> Stand:
        """The gateway up, believing what was measured, and the first calibration."""
        self._say("measuring services")
        requests = calibration_prompts(cluster.world, self._traces, CALIBRATION_PROMPTS, self._options.seed)
        urls = {m: cluster.urls[next(n for n, ms in self._placement.items() if m in ms)] for m in requests}
        world = await self._believed(cluster, await first_look(session, urls, requests), requests)
        gap_s = await measure_gap_s(session, urls, requests)
        url = await cluster.serve(world.world.models)
        door = GatewayDoor(session, url, cluster.cpu_s, cluster.clock.now_s)
        stand = Stand(cluster, held, world, url, door, requests, gap_s)
        await stand.calibrate(self._say)
        return stand

    async def _bands(self, stand: Stand) -> tuple[Band, ...]:
        for load in self._options.bands:
            await self._band(stand, load)
        bands = await self._compared(stand)
        while (wide := self._again(bands)) is not None:
            self._say("chance left too much open; once more")
            await self._band(stand, wide)
            bands = await self._compared(stand)
        return bands

    async def _compared(self, stand: Stand) -> tuple[Band, ...]:
        # In a thread: where the twin is not compiled yet that takes a minute, in which a signal must be heard.
        return await in_daemon(lambda: stand.compare(self._folder, self._options.seed))

    async def _band(self, stand: Stand, load: float) -> None:
        await stand.band(load, self._options.duration_s, self._options.seed, self._say)

    def _report(self, stand: Stand, bands: tuple[Band, ...]) -> Fidelity:
        (found, fixed), q = stand.measured(), stand.held.quota
        return Fidelity(
            format=FORMAT,
            machine=this_machine(),
            held=stand.held,
            placement=self._placement,
            shares=stand.world.shares,
            services={m: sized(scaled(p, q, fixed.gap_s * q)) for m, p in found.shape.items()},
            worst_fit=found.worst_fit,
            crowding=found.crowding,
            constants=fixed,
            bands=bands,
            seeds=SEEDS,
            wall_s=time.monotonic() - self._began_s,
            notes=self._notes(bands),
        )

    async def _believed(
        self, cluster: Cluster, services: dict[str, ServiceProfile], requests: Requests
    ) -> FidelityWorld:
        """The world as the gateway will believe it, in core seconds, and the nodes' shares set."""
        core = {m: scaled(p, self._quota) for m, p in services.items()}
        means = {m: fmean(core[m].expected_s(r.size) for r in several) for m, several in requests.items()}
        models = tuple(replace(m, mean_service_s=means[m.id]) for m in with_services(self._models, core))
        shares = shares_for(means)
        await cluster.share({node: {m: shares[m] for m in ms} for node, ms in self._placement.items()})
        return FidelityWorld(replace(cluster.world, models=models), self._placement, shares)

    def _again(self, bands: tuple[Band, ...]) -> float | None:
        """The load to run once more; None when each is clear enough, or it is late."""
        wide = [b for b in bands if b.half_width > WIDE and b.runs == 1]
        if not wide or time.monotonic() - self._began_s > AGAIN_UNTIL * self._options.duration_s:
            return None
        return max(wide, key=lambda b: b.half_width).asked_load

    def _notes(self, bands: tuple[Band, ...]) -> tuple[str, ...]:
        notes = []
        if self._traces is None:
            notes.append("no recorded traces here: generated prompts were sent")
        if any(max(b.others_cores, b.calibration_others_cores) > OTHERS for b in bands):
            notes.append("other work ran on this machine meanwhile: measure again when it is quiet")
        return tuple(notes)
