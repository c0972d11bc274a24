"""Demand as counts by slot, and what a forecast is held against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgewise.twin.demand import Demand, Floats


@dataclass(frozen=True)
class Series:
    """counts[T, A, M]: prompts of each slot by access node and model. window: slots whose counts a forecast sees
    last; ahead: slots it is for."""

    counts: Floats
    slot_s: float
    window: int
    ahead: int

    @property
    def issued(self) -> range:
        """Slots at whose start a forecast is made: a window lies before, what it is for lies wholly behind."""
        return range(self.window, len(self.counts) - self.ahead + 1)

    def truth(self) -> Floats:
        """[I, A, M] mean rates per second of the slots ahead, one row for each issue."""
        sums = np.cumsum(np.concatenate([np.zeros((1, *self.counts.shape[1:])), self.counts]), axis=0)
        at = np.array(self.issued)
        return np.asarray((sums[at + self.ahead] - sums[at]) / (self.ahead * self.slot_s))

    def seen(self) -> Floats:
        """[I, A, M] mean rates of the window before each issue."""
        sums = np.cumsum(np.concatenate([np.zeros((1, *self.counts.shape[1:])), self.counts]), axis=0)
        at = np.array(self.issued)
        return np.asarray((sums[at] - sums[at - self.window]) / (self.window * self.slot_s))


def series_of(demand: Demand, nodes: int, models: int, slot_s: float, slots: int, window: int, ahead: int) -> Series:
    """Counts of a run's prompts."""
    slot = np.floor(demand.at_s / slot_s).astype(np.int64)
    inside = slot < slots
    code = (slot * nodes + demand.access) * models + demand.model
    counts = np.bincount(code[inside], minlength=slots * nodes * models).astype(np.float64)
    return Series(counts.reshape(slots, nodes, models), slot_s, window, ahead)
