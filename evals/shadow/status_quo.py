"""The twin of what stands: each prompt served where it was, as far as that is known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from edgewise.control.rolling import product_rules
from edgewise.optimise.weights import size_weights
from edgewise.policy import dispatch
from edgewise.policy.sample import SAMPLE
from edgewise.settings import Settings
from edgewise.twin.arrays import FIXED, LOCAL, Rules
from edgewise.twin.demand import Bools, Floats
from edgewise.twin.run import Twin
from evals.policies import Prepared
from evals.setting import Setting
from evals.shadow.stage import Dispatch, Stage

PATIENCE = 4.0  # load times that a prompt waits before a busy model goes (the default of local-lru)


@dataclass(slots=True)
class AsSeen:
    """Holds the twin to what was seen: who stood where when, and who served what came in. homes: prompts are served
    where they come in."""

    timeline: tuple[tuple[float, Bools], ...]
    shares: Floats
    homes: bool
    fixed: bool

    def slot(self, twin: Twin, number: int) -> None:
        nodes, models = twin.state.goal.shape
        if number == 0:
            twin.share(np.broadcast_to(self.shares, (nodes, models)))
            if self.homes:
                rows = np.repeat(np.arange(nodes, dtype=np.int64)[:, None], models, axis=1)
                twin.route(rows, np.eye(nodes))
        if self.fixed:
            now = [p for at_s, p in self.timeline if at_s <= twin.now_s]
            twin.want(now[-1] if now else self.timeline[0][1])


def status_quo(stage: Stage, where: Setting, settings: Settings) -> tuple[Setting, Prepared]:
    """The setting and policy that stand for today. Where replicas stood is a fact: they take no time to load and need
    no memory there, but where models are swapped as they are asked for: what that costs is what is to be seen."""
    models = len(stage.models)
    if stage.dispatch is Dispatch.SWAPPING:
        rules = Rules(dispatch.LEAST_WORK, LOCAL, PATIENCE, 1.0, 0.0, False, SAMPLE)
        return where, Prepared(rules, AsSeen((), np.ones(models), homes=False, fixed=False))
    physics = where.physics._replace(
        memory=np.full(len(stage.nodes), math.inf),
        load_mean=np.full(models, 1e-6),
        load_mu=np.full(models, math.log(1e-6)),
        load_sigma=np.zeros(models),
    )
    free = replace(where, physics=physics)
    if stage.dispatch is Dispatch.GATEWAY:
        shares = size_weights(np.array([m.mean_service_s for m in where.believed.models]), 1.0)
        seen = AsSeen(_covered(stage), shares, homes=False, fixed=True)
        return free, Prepared(product_rules(settings, False), seen)
    policy = dispatch.LEAST_WORK if stage.dispatch is Dispatch.BALANCED else dispatch.SLOT_WEIGHTS
    rules = Rules(policy, FIXED, 1.0, 1.0, 0.0, False, SAMPLE)
    homes = stage.dispatch is Dispatch.OWN
    return free, Prepared(rules, AsSeen(((0.0, stage.placement),), np.ones(models), homes=homes, fixed=True))


def _covered(stage: Stage) -> tuple[tuple[float, Bools], ...]:
    """The timeline, each model standing somewhere at every time: where it stood at some time, if it seems not to."""
    found = []
    for at_s, placement in stage.timeline or ((0.0, stage.placement),):
        missing = ~placement.any(axis=0)
        found.append((at_s, placement | (stage.placement & np.asarray(missing)[None, :])))
    return tuple(found)
