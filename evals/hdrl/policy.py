"""The policy `hdrl`: once per epoch a network scores (node, model) pairs and memory is filled by score; once per slot
another scores them anew and each model's prompts are routed by the softmax of its scores.

Between slots prompts follow the slot's weights at random, as in the literature on hierarchical DRL at the edge: it
decides per slot, and does not look at queues when a prompt comes. docs/reference/hdrl.md says what that costs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edgewise.policy.dispatch import LOADING, READY, SLOT_WEIGHTS
from edgewise.twin.arrays import FIXED
from edgewise.twin.demand import Bools, Floats
from edgewise.twin.run import Twin
from evals.hdrl.features import Demanded, Knowns, Seen, look, placement_features, routing_features
from evals.hdrl.fill import fill, weights
from evals.hdrl.network import Network, Networks, load
from evals.policies import Prepared, greedy, rules
from evals.setting import Setting

FIRST_PLAN = 2  # slot of the first plan; until then the greedy fill stands: no demand was seen at t = 0
BONUS = 0.5  # added to the score of replicas that stand: a load must be worth its while
KNOBS = (BONUS, 0.25, 1.0, 0.0)  # values of it to tune over


@dataclass(slots=True)
class Levels:
    """The controller. networks: None in a level's place leaves the prior alone. bonus: of incumbents."""

    knowns: Knowns
    networks: Networks
    first: Bools  # [N, M] the placement before anything was seen
    epoch_slots: int
    bonus: float = BONUS
    demanded: Demanded = field(init=False)
    routed: Floats = field(init=False)
    alive: Bools = field(init=False)

    def __post_init__(self) -> None:
        nodes, models = self.first.shape
        self.demanded = Demanded.none(nodes, models)
        self.routed = np.zeros((nodes, models))
        self.alive = np.ones(nodes, dtype=bool)

    def slot(self, twin: Twin, number: int) -> None:
        seen = self.see(twin, number)
        if self.plans_at(seen, number):
            self.place(twin, seen, placement_scores(self.networks.place, self.knowns, seen))
        self.route(twin, routing_scores(self.networks.route, self.knowns, seen))

    def see(self, twin: Twin, number: int) -> Seen:
        """Looks, and at the very start asks for the first placement. Once per slot."""
        if number == 0:
            twin.want(self.first)
        return look(twin, self.knowns, self.demanded, self.routed, number == 0)

    def plans_at(self, seen: Seen, number: int) -> bool:
        """Each epoch, once at the start, and when nodes came or went: a model must not stay away for an epoch."""
        changed = bool((seen.fleet.alive != self.alive).any())
        self.alive = seen.fleet.alive.copy()
        return changed or number == FIRST_PLAN or (number > 0 and number % self.epoch_slots == 0)

    def place(self, twin: Twin, seen: Seen, scores: Floats) -> None:
        """The high level's decision."""
        fleet = seen.fleet
        stands = (fleet.state == LOADING) | (fleet.state == READY)
        memory = np.where(fleet.alive, self.knowns.memory, 0.0)
        twin.want(fill(memory, self.knowns.need, fleet.speed, scores + self.bonus * stands))

    def route(self, twin: Twin, scored: tuple[Floats, Bools]) -> None:
        """The low level's decision: one row of weights per model, whatever node the prompt enters at."""
        nodes, models = self.first.shape
        self.routed = weights(*scored)
        twin.route(np.broadcast_to(np.arange(models), (nodes, models)), self.routed.T)


def placement_scores(network: Network | None, knowns: Knowns, seen: Seen) -> Floats:
    """[N, M]"""
    features, prior = placement_features(knowns, seen)
    return prior if network is None else prior + network.score(features)


def routing_scores(network: Network | None, knowns: Knowns, seen: Seen) -> tuple[Floats, Bools]:
    """(scores, where a replica is), both [N, M]. Pairs without a replica are not scored."""
    features, prior, possible = routing_features(knowns, seen)
    if network is not None:
        prior = prior.copy()
        prior[possible] += network.score(features[possible])
    return prior, possible


def levels(setting: Setting, networks: Networks, bonus: float = BONUS) -> Levels:
    """The controller in a setting. It knows what is believed of the world, not what is true."""
    ph, scenario = setting.physics, setting.scenario
    believed = setting.believed
    knowns = Knowns(
        ph.memory, ph.need, np.array([m.mean_service_s for m in believed.models]),
        np.array([m.load_s for m in believed.models]), scenario.slot_s, scenario.slot_s * scenario.epoch_slots,
    )  # fmt: skip
    return Levels(knowns, networks, greedy(setting), scenario.epoch_slots, bonus)


def prepared(setting: Setting, networks: Networks, bonus: float = BONUS) -> Prepared:
    """The policy with these networks."""
    return Prepared(rules(SLOT_WEIGHTS, FIXED, setting), levels(setting, networks, bonus))


def prepare(setting: Setting, knob: float) -> Prepared:
    """knob: how much score a replica gains by standing already (`BONUS` in training)."""
    return prepared(setting, load(), knob)
