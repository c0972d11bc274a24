"""What stands while bands of load run, and what was measured so far: sends a band, gives the bands' errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgewise.compose.fidelity_band import BandSent, Calibrator, send_band
from edgewise.compose.fidelity_cluster import Cluster
from evals.fidelity.calibration import Calibrated, calibrated
from evals.fidelity.compare import BandRun, band_of
from evals.fidelity.constants import Constants
from evals.fidelity.prompting import band_workload
from evals.fidelity.report import Band, Held
from evals.fidelity.twin_side import Costs, scenario_for, twin_latencies, write_prompts
from evals.fidelity.world import FidelityWorld, with_services
from evals.profiles.fit import scaled
from evals.scenario_file import to_yaml
from evals.traces import trace_folder

SEEDS = 40  # of the twin
CROWDED = 1.02  # services longer than this, with all nodes busy, mean that the machine limits them
SEED_STEP = 100  # between the prompts of two runs


@dataclass(slots=True)
class Stand:
    """around: of each run of a band, the calibration blocks before and after it."""

    cluster: Cluster
    held: Held
    world: FidelityWorld
    url: str
    fixed: Constants
    calibrator: Calibrator
    sent: list[BandSent] = field(default_factory=list)
    around: list[tuple[int, int]] = field(default_factory=list)

    def costs(self, found: Calibrated, level: Mapping[str, float]) -> Costs:
        """What the twin is told, with the machine at a level."""
        quota, nodes = self.held.quota, len(self.world.placement)
        crowded = self.fixed.crowding > CROWDED
        return Costs(
            models=with_services(self.world.world.models, found.shape),
            level=level,
            constants=self.fixed,
            quota=quota,
            host_cores=quota * nodes / self.fixed.crowding if crowded else None,
        )

    async def band(self, load: float, duration_s: float, seed: int, say: Callable[[str], None]) -> None:
        """Send one band's prompts and calibrate after it."""
        found = calibrated(self.calibrator.blocks)
        costs = self.costs(found, found.levels[-1])
        services = {m.id: scaled(m.service, costs.level[m.id], self.fixed.gap_s) for m in costs.models if m.service}
        nodes = len(self.world.placement)
        capacity = nodes if costs.host_cores is None else costs.host_cores / costs.quota  # node seconds per second
        world = replace(self.world.world, models=costs.models)
        number = len(self.sent)
        seed += SEED_STEP * number
        rows = band_workload(world, services, trace_folder(), duration_s, capacity, load, seed).rows
        say(f"band {load:.2f}: {len(rows)} prompts in {duration_s:.0f} s")
        before = len(self.calibrator.blocks) - 1
        prefix = f"band{number + 1}-"
        sent = await send_band(self.cluster, self.world.world, self.url, rows, load, prefix, duration_s)
        await self.calibrator.block()
        self.sent.append(sent)
        self.around.append((before, before + 1))

    def compare(self, folder: Path, seed: int) -> tuple[Band, ...]:
        """All bands so far, each with the machine as the calibration blocks around it saw it. Their worlds and
        prompts are written into the folder, as scenarios and traces."""
        found, by_load = calibrated(self.calibrator.blocks), dict[float, list[BandRun]]()
        for number, (sent, around) in enumerate(zip(self.sent, self.around, strict=True), 1):
            costs = self.costs(found, found.around(*around))
            name = f"band-{number}-load-{sent.load:.2f}"
            write_prompts(folder / f"{name}.csv", self.world, sent.prompts)
            scenario = scenario_for(self.world, costs, name, sent.window_s, seed, folder / f"{name}.csv")
            (folder / f"{name}.yaml").write_text(to_yaml(scenario), encoding="utf-8")
            twin_s = twin_latencies(self.world, sent.prompts, costs, scenario, SEEDS)
            can_s = sum(self.fixed.cores.values()) * sent.window_s
            made = BandRun(
                asked_load=sent.load,
                duration_s=sent.window_s,
                real_s=sent.latency_s,
                twin_s=twin_s,
                model=sent.prompts.model,
                busy=sent.cpu_s / can_s,
                service=sent.services(costs),
                levels=costs.level,
                others_cores=sent.others_cores,
            )
            by_load.setdefault(sent.load, []).append(made)
        names = [m.id for m in self.world.world.models]
        return tuple(band_of(runs, names) for _, runs in sorted(by_load.items()))
