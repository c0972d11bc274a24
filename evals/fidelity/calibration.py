"""Service profiles of a cluster that stands: blocks of calibration prompts, before, between and after the bands.

A machine does not stay the same: what else runs on it, its clock and its caches change what a prompt takes. So each
model answers a few prompts, always the same ones, before and after every band. All blocks together say how service
goes by size; the two blocks around a band say how fast the machine was then. No prompt of a band has a part in it.

Services are longer when everything is busy, as caches are shared and models take turns. Each block measures prompts
alone and prompts with all nodes busy, in turn; in a band the truth lies between, by how busy it is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median, stdev

import aiohttp
import numpy as np

from edgewise.domain.model import ServiceProfile
from evals.calibrate import Point
from evals.fidelity.gateway_door import GatewayDoor, Requests, Saturated, Sent
from evals.profiles.door import NodeDoor
from evals.profiles.fit import fit_mean, lack_of_fit

SATURATED_S = 4.5
SETTLE_S = 1.0  # of it
LEAST_FACTOR = 0.1


@dataclass(frozen=True, slots=True)
class Block:
    """Prompts alone, half of them before and half after those with all nodes busy. others_cores: that other work on
    the machine took meanwhile."""

    one: tuple[Sent, ...]
    many: Saturated
    others_cores: float = 0.0


async def first_look(
    session: aiohttp.ClientSession, urls: Mapping[str, str], requests: Requests
) -> dict[str, ServiceProfile]:
    """What the gateway is to believe: every request once, alone, on the node at urls[model]."""
    found = {}
    for model, several in requests.items():
        door = NodeDoor(session, urls[model], model, time.monotonic)
        await door.ask(several[0])
        found[model] = fit_mean([(await door.timed(request)).point for request in several])
    return found


async def measure_block(door: GatewayDoor, requests: Requests) -> Block:
    one = await door.alone({model: several[::2] for model, several in requests.items()})
    many = await door.saturate(requests, SATURATED_S, SETTLE_S)
    one += await door.alone({model: several[1::2] for model, several in requests.items()})
    return Block(one, many)


@dataclass(frozen=True, slots=True)
class Doubt:
    """How far, relatively, levels may be off. drift: by model, half of what the machine changed between the blocks
    before and after, the same way for all models at once; chance: by model, standard error over the prompts of both;
    crowding: standard error of what being busy adds, the same for all models."""

    drift: dict[str, float]
    chance: dict[str, float]
    crowding: float = 0.0

    def factors(self, random: np.random.Generator) -> dict[str, float]:
        """One draw of true / assumed level of each model."""
        when, busy = random.uniform(-1.0, 1.0), self.crowding * random.standard_normal()
        return {
            m: max(LEAST_FACTOR, 1.0 + when * self.drift[m] + busy + self.chance[m] * random.standard_normal())
            for m in self.drift
        }


@dataclass(frozen=True, slots=True)
class Calibrated:
    """shape: service by size of prompts alone, over all blocks, node seconds. levels: by block and model, how much
    longer prompts took than the shape says. crowding: how much longer with all nodes busy than alone, with its
    standard error. prompts: of each model in one block. means: service of the calibration prompts. worst_fit: largest
    relative error of the shape for one size, by model."""

    shape: dict[str, ServiceProfile]
    levels: tuple[dict[str, float], ...]
    crowding: float
    crowding_error: float
    prompts: dict[str, int]
    means: dict[str, float]
    worst_fit: dict[str, float]

    def doubt(self, before: int, after: int, load: float) -> Doubt:
        """How far the levels of `around` may be off."""
        first, last = self.levels[before], self.levels[after]
        drift = {m: (last[m] - first[m]) / (last[m] + first[m]) for m in first}
        seen = {m: self.prompts[m] * len({before, after}) for m in first}
        chance = {m: self.shape[m].cv / math.sqrt(seen[m]) for m in first}
        return Doubt(drift, chance, self.crowding_error * min(max(load, 0.0), 1.0))

    def around(self, before: int, after: int, load: float) -> dict[str, float]:
        """The levels while nodes were busy to `load` between two blocks."""
        busy = 1.0 + min(max(load, 0.0), 1.0) * (self.crowding - 1.0)
        first, last = self.levels[before], self.levels[after]
        return {model: (first[model] + last[model]) / 2 * busy for model in first}


def calibrated(blocks: Sequence[Block]) -> Calibrated:
    """Raises BadInput when a model has no prompts."""
    points = [_points(block.one) for block in blocks]
    models = list(points[0])
    everything = {m: [p for block in points for p in block[m]] for m in models}
    shape = {m: fit_mean(everything[m]) for m in models}
    levels = tuple({m: _slowness(block[m], shape[m]) for m in models} for block in points)
    # The spread around the level of each block is chance; that between blocks is the machine, and in the levels.
    steady = {
        m: [
            Point(p.size, p.service_s / level[m])
            for block, level in zip(points, levels, strict=True)
            for p in block[m]
        ]
        for m in models
    }
    crowding = [_crowding(block, level, shape) for block, level in zip(blocks, levels, strict=True)]
    return Calibrated(
        shape={m: replace(p, cv=fit_mean(steady[m]).cv) for m, p in shape.items()},
        levels=levels,
        # Other work on the machine hits those worst that want all of it: a block it fell into must not count.
        crowding=median(crowding),
        crowding_error=stdev(crowding) / math.sqrt(len(crowding)) if len(crowding) > 1 else 0.0,
        prompts={m: len(several) for m, several in points[0].items()},
        means={m: fmean(p.service_s for p in several) for m, several in everything.items()},
        worst_fit={m: lack_of_fit(steady[m], shape[m]) for m in models},
    )


def _points(sent: Sequence[Sent]) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    for prompt in sent:
        found.setdefault(prompt.model, []).append(Point(prompt.size, prompt.service_s))
    return found


def _slowness(points: Sequence[Point], shape: ServiceProfile) -> float:
    return sum(p.service_s for p in points) / sum(shape.expected_s(p.size) for p in points)


def _crowding(block: Block, level: Mapping[str, float], shape: Mapping[str, ServiceProfile]) -> float:
    sent = block.many.sent
    return sum(s.service_s for s in sent) / sum(level[s.model] * shape[s.model].expected_s(s.size) for s in sent)
