"""What stands while bands of load run, and what was measured so far: sends a band, gives the bands' errors."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgewise.compose.fidelity_band import BandSent, send_band
from edgewise.compose.fidelity_cluster import Cluster
from evals.fidelity.calibration import Block, Calibrated, calibrated, measure_block
from evals.fidelity.compare import BandRun, band_of
from evals.fidelity.constants import Constants, constants
from evals.fidelity.cpu import others_cores, usage
from evals.fidelity.gateway_door import GatewayDoor, Requests
from evals.fidelity.prompting import band_workload
from evals.fidelity.report import Band, Held
from evals.fidelity.twin_side import Costs, scenario_for, twin_latencies, write_prompts
from evals.fidelity.world import FidelityWorld, with_services
from evals.profiles.fit import scaled
from evals.scenario_file import to_yaml
from evals.traces import trace_folder
from tools.rundir import read_prompts

SEEDS = 40  # of the twin
TRIES = 2  # at a calibration block
DISTURBED = 0.2  # cores that others took
ROWS_S = 0.1  # until the gateway's last rows are on the disk
SEED_STEP = 100  # between the prompts of two runs


@dataclass(slots=True)
class Stand:
    """blocks: of calibration prompts; around: of each run of a band, those before and after it."""

    cluster: Cluster
    held: Held
    world: FidelityWorld
    url: str
    door: GatewayDoor
    requests: Requests
    gap_s: float
    blocks: list[Block] = field(default_factory=list)
    sent: list[BandSent] = field(default_factory=list)
    around: list[tuple[int, int]] = field(default_factory=list)

    async def calibrate(self, say: Callable[[str], None]) -> None:
        """One more block; when other work disturbs it, again, and the least disturbed counts."""
        tried: list[Block] = []
        while len(tried) < TRIES and (not tried or tried[-1].others_cores > DISTURBED):
            if tried:
                say(f"other work took {tried[-1].others_cores:.2f} cores while services were measured; again")
            ours = self.cluster.all_pids()
            before = usage(ours)
            block = await measure_block(self.door, self.requests)
            tried.append(replace(block, others_cores=others_cores(before, usage(ours))))
        self.blocks.append(min(tried, key=lambda b: b.others_cores))
        await asyncio.sleep(ROWS_S)

    def measured(self) -> tuple[Calibrated, Constants]:
        """By all calibration prompts so far."""
        return calibrated(self.blocks), constants(self.blocks, read_prompts(self.cluster.run), self.gap_s)

    def costs(self, found: Calibrated, fixed: Constants, blocks: tuple[int, int], load: float) -> Costs:
        """What the twin is told of a time between two blocks in which nodes were busy to `load`."""
        models = with_services(self.world.world.models, found.shape)
        level, doubt = found.around(*blocks, load), found.doubt(*blocks, load)
        return Costs(models, level, fixed, self.held.quota, float(len(os.sched_getaffinity(0))), doubt)

    async def band(self, load: float, duration_s: float, seed: int, say: Callable[[str], None]) -> None:
        """Send one band's prompts and calibrate after it."""
        found, fixed = self.measured()
        newest, number = len(self.blocks) - 1, len(self.sent)
        level = found.around(newest, newest, load)
        services = {m: scaled(p, level[m], fixed.gap_s) for m, p in found.shape.items()}
        world = replace(self.world.world, models=with_services(self.world.world.models, services))
        # Profiles are in node seconds here, of which each node does one per second.
        nodes = float(len(self.world.placement))
        rows = band_workload(world, services, trace_folder(), duration_s, nodes, load, seed + SEED_STEP * number).rows
        say(f"band {load:.2f}: {len(rows)} prompts in {duration_s:.0f} s")
        prefix = f"band{number + 1}-"
        sent = await send_band(self.cluster, self.world.world, self.url, rows, load, prefix, duration_s)
        await self.calibrate(say)
        self.sent.append(sent)
        self.around.append((newest, newest + 1))

    def compare(self, folder: Path, seed: int) -> tuple[Band, ...]:
        """All bands so far, each with the machine as the calibration blocks around it saw it. Their worlds and
        prompts are written into the folder, as scenarios and traces."""
        (found, fixed), by_load = self.measured(), dict[float, list[BandRun]]()
        can_cores = sum(fixed.cores.values())
        for number, (sent, around) in enumerate(zip(self.sent, self.around, strict=True), 1):
            load = (sent.served_s + fixed.gap_s * len(sent.latency_s)) / (len(fixed.cores) * sent.window_s)
            costs = self.costs(found, fixed, around, load)
            name = f"band-{number}-load-{sent.load:.2f}"
            write_prompts(folder / f"{name}.csv", self.world, sent.prompts)
            scenario = scenario_for(self.world, costs, name, sent.window_s, seed, folder / f"{name}.csv")
            (folder / f"{name}.yaml").write_text(to_yaml(scenario), encoding="utf-8")
            seeds = range(SEEDS * number, SEEDS * (number + 1))
            made = BandRun(
                asked_load=sent.load,
                duration_s=sent.window_s,
                real_s=sent.latency_s,
                twin_s=twin_latencies(self.world, sent.prompts, costs, scenario, seeds),
                doubted_s=twin_latencies(self.world, sent.prompts, costs, scenario, seeds, doubted=True),
                model=sent.prompts.model,
                load=load,
                cpu_load=sent.cpu_s / (can_cores * sent.window_s),
                service=sent.services(costs),
                levels=costs.level,
                others_cores=sent.others_cores,
                calibration_others_cores=max(self.blocks[i].others_cores for i in around),
            )
            by_load.setdefault(sent.load, []).append(made)
        names = [m.id for m in self.world.world.models]
        return tuple(band_of(runs, names) for _, runs in sorted(by_load.items()))
