"""What the two levels look at: figures of each (node, model) pair, without units, so that one small network scores
the pairs of a cluster of any size. Only what a dispatcher knows goes in: telemetry, believed sizes, past prompts.

N nodes, M models. "Work" is in seconds at speed 1; "capacity" is the speed of all live nodes together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgewise.policy.dispatch import LOADING, READY, FleetArrays
from edgewise.twin.arrays import NEXT_ARRIVAL
from edgewise.twin.demand import Bools, Demand, Floats
from edgewise.twin.run import Twin

FAST, SLOW = 0.5, 0.1  # weight of the newest slot in the two running means of demand
LEAST_SHARE = 0.01  # of the demand that any model is taken to have
LARGEST = 5.0  # features are cut off there
PLACE_FEATURES: Final = 18
ROUTE_FEATURES: Final = 18


@dataclass(frozen=True, slots=True)
class Knowns:
    """What does not change in a run, as policies believe it. size_s: mean service at speed 1; load_s: of a load."""

    memory: Floats  # [N] GiB
    need: Floats  # [M] GiB
    size_s: Floats  # [M]
    load_s: Floats  # [M]
    slot_s: float
    epoch_s: float


class Seen(NamedTuple):
    """What one slot shows. fast, slow: running means of the work that comes in, per second."""

    fleet: FleetArrays
    fast: Floats  # [M]
    slow: Floats  # [M]
    entering: Floats  # [N] part of the prompts so far that entered there
    held: Floats  # [M] prompts that nobody could take
    routed: Floats  # [N, M] weights of the slot that ends; a model's sum to 1, or are 0
    ready_in_s: Floats  # [N, M] until loading replicas are ready, 0 for others


@dataclass(slots=True)
class Demanded:
    """Running means of demand, slot by slot, each the mean of what was seen until enough was."""

    fast: Floats
    slow: Floats
    entered: Floats
    slots: int = 0
    prompts: int = 0

    @staticmethod
    def none(nodes: int, models: int) -> Demanded:
        return Demanded(np.zeros(models), np.zeros(models), np.zeros(nodes))

    def take(self, demand: Demand, until: int, slot_s: float) -> None:
        """The prompts that came in one slot: those from the last seen up to `until`."""
        new = slice(self.prompts, until)
        work = np.bincount(demand.model[new], demand.hint_s[new], len(self.fast)) / slot_s
        self.slots += 1
        self.fast += max(FAST, 1 / self.slots) * (work - self.fast)
        self.slow += max(SLOW, 1 / self.slots) * (work - self.slow)
        self.entered += np.bincount(demand.access[new], minlength=len(self.entered))
        self.prompts = until


def look(twin: Twin, knowns: Knowns, demanded: Demanded, routed: Floats, first: bool) -> Seen:
    """What the twin shows at the beginning of a slot. first: nothing has come yet."""
    state = twin.state
    if not first:
        demanded.take(twin.demand, int(state.tally[NEXT_ARRIVAL]), knowns.slot_s)
    entered = demanded.entered + 1.0
    loading = state.fleet.state == LOADING
    left_s = np.maximum(knowns.load_s - (twin.now_s - state.since_s), 0.1 * knowns.load_s)
    return Seen(
        state.fleet, demanded.fast.copy(), demanded.slow.copy(), entered / entered.sum(),
        state.held_count.astype(np.float64), routed, np.where(loading, left_s, 0.0),
    )  # fmt: skip


def shares_of(work: Floats) -> Floats:
    """[M] parts of the demand; equal ones while there is none, and none below LEAST_SHARE."""
    total = work.sum()
    shares = work / total if total > 0 else np.full(work.shape, 1 / work.size)
    shares = np.maximum(shares, LEAST_SHARE)
    return np.asarray(shares / shares.sum())


class _Common(NamedTuple):
    """Figures both levels use."""

    capacity: float
    shares: Floats  # [M] of fast demand
    load: float
    held_by: Bools  # [N, M] loading or ready
    covered: Floats  # [M] speed of the nodes that hold the model
    busy: Floats  # [N, M] utilisation by each model, by the weights of the last slot
    backlog_s: Floats  # [N] seconds of work
    queue_s: Floats  # [N, M]
    network_s: Floats  # [N, M] mean time on the network to be served there
    size: Floats  # [M] log of size over the mean prompt's


def _common(k: Knowns, seen: Seen) -> _Common:
    fleet = seen.fleet
    speed = fleet.speed
    capacity = max(float(speed[fleet.alive].sum()), 1e-9)
    shares = shares_of(seen.fast)
    held_by = ((fleet.state == LOADING) | (fleet.state == READY)) & fleet.alive[:, None]
    queue_s = fleet.work_s / speed[:, None]
    network_s = (seen.entering @ fleet.latency_s)[:, None] + np.outer(
        seen.entering @ fleet.s_per_kib, fleet.payload_kib
    )
    # The mean prompt of the work that comes: harmonic, as shares are of work.
    mean_s = 1.0 / float((shares / k.size_s).sum())
    return _Common(
        capacity, shares, float(seen.fast.sum()) / capacity, held_by, speed @ held_by,
        seen.routed * seen.fast / speed[:, None], queue_s.sum(axis=1), queue_s, network_s, np.log(k.size_s / mean_s),
    )  # fmt: skip


def placement_features(k: Knowns, seen: Seen) -> tuple[Floats, Floats]:
    """(features [N, M, PLACE_FEATURES], prior [N, M]): the score of a pair before anything is learned is the log of
    the model's part of the demand, so that a fill by score over coverage gives each model its part of the speed."""
    c, fleet = _common(k, seen), seen.fleet
    nodes, models = c.held_by.shape
    speed = fleet.speed
    prior = np.broadcast_to(np.log(c.shares * models), (nodes, models))
    covered = np.maximum(c.covered / c.capacity, 0.02)
    columns = (
        np.log(speed / (c.capacity / max(int(fleet.alive.sum()), 1)))[:, None],
        k.need / k.memory[:, None],
        (np.log(k.memory / k.need.sum()))[:, None],
        np.log(c.shares * models),
        np.log(shares_of(seen.slow) * models),
        np.log(c.shares / covered),
        c.load,
        np.log(np.maximum(seen.fast, 1e-6) / covered / c.capacity),
        fleet.state == READY,
        fleet.state == LOADING,
        np.log1p(c.queue_s / k.size_s),
        np.log1p(c.backlog_s / k.slot_s)[:, None],
        np.log1p((fleet.work_s.sum(axis=0)) / c.capacity / k.slot_s),
        np.log1p(seen.held),
        c.busy.sum(axis=1)[:, None] - c.load,
        c.size,
        k.load_s / k.epoch_s * 10,
        np.log1p(c.network_s / k.size_s),
    )
    return _stacked(columns, c.held_by.shape), np.asarray(prior)


def routing_features(k: Knowns, seen: Seen) -> tuple[Floats, Floats, Bools]:
    """(features [N, M, ROUTE_FEATURES], prior [N, M], possible [N, M]): before anything is learned, weights go by
    speed, and less of them to replicas that are still loading."""
    c, fleet = _common(k, seen), seen.fleet
    speed = fleet.speed
    prior = np.log(speed)[:, None] - 2 * np.minimum(seen.ready_in_s / k.slot_s, 1.0)
    covered = np.maximum(c.covered, 1e-3)
    all_busy = c.busy.sum(axis=1)[:, None]
    part = speed[:, None] / covered  # of the model's speed that this node is
    columns = (
        np.log(speed / (c.capacity / max(int(fleet.alive.sum()), 1)))[:, None],
        np.log1p(c.backlog_s[:, None] / k.size_s),
        (c.backlog_s / k.slot_s)[:, None],
        c.queue_s / k.slot_s,
        np.log1p(fleet.prompts),
        all_busy - c.busy,
        c.busy,
        all_busy - c.load,
        np.log(np.maximum(seen.fast / covered, 1e-3)),
        c.load,
        np.log1p(c.held_by.sum(axis=0)),
        c.size,
        seen.ready_in_s / k.slot_s,
        np.log((seen.fast + 1e-3) / (seen.slow + 1e-3)),
        np.log1p(fleet.work_s.sum(axis=0) / covered / k.slot_s),
        np.log1p(c.network_s / k.size_s),
        np.log((seen.routed + 0.02) / (part + 0.02)),
        np.log(k.size_s / k.slot_s),
    )
    return _stacked(columns, c.held_by.shape), prior, c.held_by


def _stacked(columns: tuple[NDArray[Any] | float, ...], shape: tuple[int, ...]) -> Floats:
    found = np.empty((*shape, len(columns)))
    for i, column in enumerate(columns):
        found[..., i] = column
    return np.clip(found, -LARGEST, LARGEST, out=found)
