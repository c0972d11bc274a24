"""The policies that edgewise is compared with, each as what it does per prompt (Rules) and per slot (a controller).

Those without a placement of their own start from the same greedy fill (optimise.greedy). Where a policy has a knob,
it is tuned per scenario on pilot runs with seeds of their own (evals.tuning): the comparison is with the policy at
its best, not with a straw man.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from edgewise.control.rolling import product_rules
from edgewise.control.seeds import generator
from edgewise.domain.errors import BadInput
from edgewise.domain.intent import Intent
from edgewise.optimise.greedy import greedy_fill
from edgewise.optimise.weights import size_weights
from edgewise.policy import dispatch
from edgewise.policy.sample import SAMPLE
from edgewise.twin.arrays import FIXED, LOCAL, ON_DEMAND, Rules
from edgewise.twin.demand import Bools, Floats
from edgewise.twin.run import Controller, Twin
from evals.hindsight import Books
from evals.placed import SlotWeights, offline
from evals.product import Product, clairvoyant_settings_of, settings_of
from evals.setting import Setting
from evals.traces import nearest
from evals.trained import remembering_product, trained


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a policy is in one setting: what it does per prompt, and per slot."""

    rules: Rules
    controller: Controller


Prepare = Callable[[Setting, float], Prepared]


@dataclass(frozen=True, slots=True)
class Policy:
    """prepare(setting, knob): knobs holds the values to tune over, the first being the default; one: no tuning.
    alternatives: policies that this one may turn out to be, where a whole run of theirs has the lower mean latency
    (who knows the future knows that too)."""

    name: str
    prepare: Prepare
    knobs: tuple[float, ...] = (1.0,)
    alternatives: tuple[str, ...] = ()


@dataclass(slots=True)
class Fill:
    """Sets placement and shares once. on_demand: the placement is loaded once, and changes by what prompts ask.
    redraw: another placement for a slot, None to keep what is wanted."""

    placement: Bools
    shares: Floats
    on_demand: bool = False
    redraw: Callable[[int], Bools | None] | None = field(default=None)

    def slot(self, twin: Twin, number: int) -> None:
        if number == 0:
            twin.share(np.broadcast_to(self.shares, self.placement.shape))
            if self.on_demand:
                twin.load(self.placement)
            else:
                twin.want(self.placement)
        elif self.redraw is not None and (drawn := self.redraw(number)) is not None:
            twin.want(drawn)


def rules(policy: int, placing: int, setting: Setting, knob: float = 1.0, eager: float = 1.0) -> Rules:
    """Rules of a policy in a setting; shedding is the scenario's word, for every policy alike."""
    return Rules(policy, placing, knob, eager, 0.0, setting.scenario.shedding, SAMPLE)


def greedy(setting: Setting) -> Bools:
    """The first fill of a setting; what stands already stays."""
    ph = setting.physics
    if setting.initial.any():
        return setting.initial
    return greedy_fill(ph.memory, ph.first_speed, ph.need)


def equal_shares(setting: Setting) -> Floats:
    return np.ones(len(setting.believed.models))


def size_shares(setting: Setting, power: float = 1.0) -> Floats:
    """Shares by believed mean size [M]: short prompts pass long ones."""
    return size_weights(np.array([m.mean_service_s for m in setting.believed.models]), power)


def random_fill(setting: Setting, *names: str) -> Bools:
    """Each node filled in random order, redrawn until every model stands somewhere (the best of 1000 draws)."""
    ph = setting.physics
    rng = generator("random-fill", str(setting.seed), *names)
    nodes, models = len(ph.memory), len(ph.need)
    best = np.zeros((nodes, models), dtype=bool)
    for _ in range(1000):
        placed = np.zeros((nodes, models), dtype=bool)
        for n in range(nodes):
            free = ph.memory[n]
            for m in rng.permutation(models):
                if ph.need[m] <= free + 1e-9:
                    placed[n, m] = True
                    free -= ph.need[m]
        if placed.any(axis=0).sum() > best.any(axis=0).sum():
            best = placed
        if best.any(axis=0).all():
            break
    return best


def _random_static(s: Setting, _: float) -> Prepared:
    """A random placement that never changes; each prompt goes to a ready replica drawn uniformly."""
    return Prepared(rules(dispatch.SLOT_WEIGHTS, FIXED, s), Fill(random_fill(s), equal_shares(s)))


def _random(s: Setting, _: float) -> Prepared:
    """As random-static, with the placement drawn anew each epoch: the naive baseline of arXiv 2602.07215."""
    epoch = s.scenario.epoch_slots

    def redraw(number: int) -> Bools | None:
        return random_fill(s, str(number // epoch)) if number % epoch == 0 else None

    first = random_fill(s, "")
    return Prepared(rules(dispatch.SLOT_WEIGHTS, FIXED, s), Fill(first, equal_shares(s), redraw=redraw))


def _local_lru(s: Setting, patience: float) -> Prepared:
    """A prompt is served where it enters; models come by need and the least recently used goes. What a node does
    that knows nothing of the others (Ollama, llama-swap). A busy replica is drained for one that has been asked for
    since `patience` of its load times."""
    return Prepared(rules(dispatch.LEAST_WORK, LOCAL, s, knob=patience), Fill(greedy(s), equal_shares(s), True))


def _round_robin(s: Setting, _: float) -> Prepared:
    """Ready replicas of the model in turn, on the greedy fill."""
    return Prepared(rules(dispatch.ROUND_ROBIN, FIXED, s), Fill(greedy(s), equal_shares(s)))


def _lew_lru(s: Setting, eager: float) -> Prepared:
    """Least expected work: the node that would be done soonest with all it has, and LRU activation: a replica is
    loaded where that promises less than `eager` of the delay (KServe ModelMesh places by need and LRU; least work
    left is the strong dispatch among those that see queues: Harchol-Balter, Performance Modeling, ch. 24)."""
    return Prepared(rules(dispatch.LEAST_WORK, ON_DEMAND, s, eager=eager), Fill(greedy(s), equal_shares(s), True))


def _dpp(s: Setting, knob: float) -> Prepared:
    """Lyapunov drift plus penalty (Neely, Stochastic Network Optimization, 2010): each prompt goes where the drift
    of the squared backlogs plus V times its latency there is least; activation by the same comparison."""
    return Prepared(rules(dispatch.DRIFT, ON_DEMAND, s, knob=knob, eager=0.5), Fill(greedy(s), equal_shares(s), True))


def _marginal(s: Setting, eager: float) -> Prepared:
    """Marginal-cost dispatch (own delay plus the delay caused to others), shares by size, LRU activation."""
    return Prepared(rules(dispatch.MARGINAL, ON_DEMAND, s, eager=eager), Fill(greedy(s), size_shares(s), True))


def _edgewise(s: Setting, _: float) -> Prepared:
    """The product's controller at the optimiser rung, with its marginal-cost dispatch; told what is announced."""
    return _product(s, s.scenario.announcements)


def _unannounced(s: Setting, _: float) -> Prepared:
    """edgewise that nobody told: what an announcement is worth."""
    return _product(s, ())


def _product(s: Setting, intents: tuple[Intent, ...]) -> Prepared:
    chosen = settings_of(s)
    books = Books(s.arrivals.demand, chosen) if chosen.hindsight else None
    return Prepared(product_rules(chosen, s.scenario.shedding), Product(s, chosen, books=books, intents=intents))


def _edgewise_memory(s: Setting, _: float) -> Prepared:
    """edgewise with case memory, which begins a run with what runs on other seeds left."""
    product = remembering_product(s, trained(s.scenario, s.seed), f"seed-{s.seed}")
    return Prepared(product_rules(product.settings, s.scenario.shedding), product)


def _clairvoyant(s: Setting, _: float) -> Prepared:
    """edgewise given the true future: it plans for mean latency alone, on what will really come; and where one of the
    simple policies would do better over the whole run, it does that. No policy should be better, else the run is
    invalid."""
    settings = clairvoyant_settings_of(s)
    return Prepared(product_rules(settings, s.scenario.shedding), Product(s, settings, clairvoyant=True))


def _static_optimised(s: Setting, _: float) -> Prepared:
    """Placement searched offline with the twin for the mean load and the mix before events, never changed;
    marginal's dispatch and shares, no LRU."""
    return Prepared(rules(dispatch.MARGINAL, FIXED, s), Fill(offline(s)[0], size_shares(s)))


def _slot_weights(s: Setting, _: float) -> Prepared:
    """The placement of static-optimised with routing probabilities set per slot: what a scheduler that acts per slot
    can do without looking at queues when a prompt comes."""
    placement, p = offline(s)
    return Prepared(rules(dispatch.SLOT_WEIGHTS, FIXED, s), SlotWeights(s, placement, p, size_shares(s)))


def _hdrl(s: Setting, bonus: float) -> Prepared:
    """Hierarchical deep RL: placement per epoch, routing probabilities per slot, each scored by a small network
    trained in the twin (docs/reference/hdrl.md). bonus: of replicas that already stand."""
    from evals.hdrl.policy import prepare

    return prepare(s, bonus)


EAGER = (0.5, 1.0, 0.25, 0.1)
TABLE: dict[str, Policy] = {
    p.name: p
    for p in (
        Policy("random-static", _random_static),
        Policy("random", _random),
        Policy("local-lru", _local_lru, (4.0, 1.0, 16.0, 64.0)),
        Policy("round-robin", _round_robin),
        Policy("lew-lru", _lew_lru, EAGER),
        Policy("dpp", _dpp, (10.0, 0.1, 0.3, 1.0, 3.0, 30.0, 100.0, 1000.0)),
        Policy("marginal", _marginal, EAGER),
        Policy("hdrl", _hdrl, (0.5, 0.25, 1.0, 0.0)),
        Policy("slot-weights", _slot_weights),
        Policy("static-optimised", _static_optimised),
        Policy("edgewise", _edgewise),
        Policy("edgewise-unannounced", _unannounced),
        Policy("edgewise-memory", _edgewise_memory),
        Policy("clairvoyant", _clairvoyant, alternatives=("marginal", "static-optimised", "lew-lru", "dpp")),
    )
}


def policy_of(name: str) -> Policy:
    """Raises BadInput with the nearest name."""
    if name not in TABLE:
        raise BadInput(f"no such policy: {name!r}", where="--policy", hint=nearest(name, TABLE))
    return TABLE[name]
