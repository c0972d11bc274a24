"""Service profiles of a cluster that stands: blocks of calibration prompts, before, between and after the bands.

A machine does not stay the same: what else runs on it, its clock and its caches change what a prompt takes. So each
model answers a few prompts, always the same ones, before and after every band. All blocks together say how service
goes by size; the two blocks around a band say how fast the machine was then. No prompt of a band has a part in it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import aiohttp

from edgewise.domain.model import ServiceProfile
from evals.calibrate import Point
from evals.profiles.door import NodeDoor
from evals.profiles.fit import fit_mean
from evals.prompts import PromptRequest

Block = Mapping[str, tuple[Point, ...]]


async def measure_block(
    session: aiohttp.ClientSession, urls: Mapping[str, str], requests: Mapping[str, Sequence[PromptRequest]]
) -> dict[str, tuple[Point, ...]]:
    """Every request once, alone, on the node at urls[model]."""
    found = {}
    for model, several in requests.items():
        door = NodeDoor(session, urls[model], model, time.monotonic)
        await door.ask(several[0])  # what the caches lost meanwhile is not part of a prompt under load
        found[model] = tuple([(await door.timed(request)).point for request in several])
    return found


@dataclass(frozen=True, slots=True)
class Calibrated:
    """shape: service by size over all blocks, node seconds. levels: by block and model, how much longer prompts took
    than the shape says. means: service of the calibration prompts."""

    shape: dict[str, ServiceProfile]
    means: dict[str, float]
    levels: tuple[dict[str, float], ...]

    def around(self, before: int, after: int) -> dict[str, float]:
        """The levels while something ran between two blocks."""
        first, last = self.levels[before], self.levels[after]
        return {model: (first[model] + last[model]) / 2 for model in first}


def calibrated(blocks: Sequence[Block]) -> Calibrated:
    """Raises BadInput for no blocks."""
    models = list(blocks[0]) if blocks else []
    shape = {m: fit_mean([p for block in blocks for p in block[m]]) for m in models}
    levels = tuple({m: _level(block[m], shape[m]) for m in models} for block in blocks)
    # The spread around the level of each block is chance; that between blocks is the machine, and in the levels.
    around = {
        m: fit_mean(
            [
                Point(p.size, p.service_s / level[m])
                for block, level in zip(blocks, levels, strict=True)
                for p in block[m]
            ]
        ).cv
        for m in models
    }
    means = {m: fmean(p.service_s for block in blocks for p in block[m]) for m in models}
    return Calibrated({m: replace(p, cv=around[m]) for m, p in shape.items()}, means, levels)


def _level(points: Sequence[Point], shape: ServiceProfile) -> float:
    return sum(p.service_s for p in points) / sum(shape.expected_s(p.size) for p in points)
