"""All that a policy meets in one run: the true world, what is believed of it, the prompts, what happens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgewise.domain.world import World
from edgewise.twin.arrays import Physics, Rules
from edgewise.twin.demand import Bools, Happenings
from edgewise.twin.run import Twin
from evals.arrivals import Arrivals, arrivals
from evals.scenario import Scenario
from evals.scenario_world import believed_world, to_world
from evals.twin_world import fleet_of, happenings_of, physics_of


@dataclass(frozen=True, slots=True)
class Setting:
    """scenario and seed name the run; the rest follows from them. believed: what policies may look at."""

    scenario: Scenario
    seed: int
    world: World
    believed: World
    physics: Physics
    happenings: Happenings
    arrivals: Arrivals

    def twin(self, rules: Rules) -> Twin:
        """The world before the run under a policy's rules, with the prompts to come."""
        fleet = fleet_of(self.physics, self.world)
        made = Twin(self.physics, fleet, self.arrivals.demand, self.happenings, rules)
        made.stand(self.initial)
        return made

    @property
    def initial(self) -> Bools:
        """Replicas [N, M] that stand at the start."""
        placed = np.zeros((len(self.scenario.nodes), len(self.scenario.models)), dtype=bool)
        index = {m.id: i for i, m in enumerate(self.scenario.models)}
        for n, node in enumerate(self.scenario.nodes):
            placed[n, [index[m] for m in self.scenario.initial.get(node.id, ())]] = True
        return placed


def setting(scenario: Scenario, seed: int, given: Arrivals | None = None) -> Setting:
    """The setting of a run. given: prompts to use in place of the scenario's own (a recorded run, say)."""
    world = to_world(scenario)
    return Setting(
        scenario,
        seed,
        world,
        believed_world(scenario, seed),
        physics_of(scenario, world, seed),
        happenings_of(scenario),
        given if given is not None else arrivals(scenario, seed),
    )
