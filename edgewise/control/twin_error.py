"""How far the twin is from the real cluster, by load: the margin by which a plan must be predicted better.

Measured by `edgewise fidelity`; a gain smaller than what the twin itself is off by says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgewise.domain.codec import from_json
from edgewise.domain.errors import BadInput

FORMAT = 1
# Beyond the highest load measured a queue's sensitivity to an error of service grows as 1/(1 − load); up to here.
MOST_LOAD = 0.95
MOST_MARGIN = 0.5  # a gate that asks for more than this lets nothing through, right or wrong


@dataclass(frozen=True, slots=True)
class ErrorBand:
    """load: part of the nodes' capacity in use. mean_error: of the mean latency, twin / real − 1; half_width: half of
    its 95 % interval."""

    load: float
    mean_error: float
    half_width: float

    @property
    def bound(self) -> float:
        """What the error is below, at 95 %: the error seen and what chance may have hidden."""
        return abs(self.mean_error) + self.half_width


@dataclass(frozen=True, slots=True)
class TwinError:
    """The part of fidelity.json that the gate needs."""

    bands: tuple[ErrorBand, ...]
    format: int = FORMAT


# Where nothing was measured: the errors that fidelity aims at, with nothing taken off for luck.
UNMEASURED = TwinError((ErrorBand(0.6, 0.10, 0.0), ErrorBand(0.8, 0.20, 0.0)))


def margin_for(load: float, error: TwinError | None = None) -> float:
    """The relative error to expect of the twin's mean latency at a load, in (0, MOST_MARGIN].

    Between two bands linear in the load; below the lowest band as there; above the highest it grows as 1/(1 − load).
    None, or a measurement without bands: UNMEASURED. A load that is not a number counts as the highest.
    """
    bands = sorted(error.bands if error is not None and error.bands else UNMEASURED.bands, key=lambda b: b.load)
    load = MOST_LOAD if math.isnan(load) else min(max(load, 0.0), MOST_LOAD)
    first, last = bands[0], bands[-1]
    if load <= first.load:
        return min(first.bound, MOST_MARGIN)
    if load >= last.load:
        spare = max(1.0 - last.load, 1.0 - MOST_LOAD)
        return min(last.bound * spare / (1.0 - load), MOST_MARGIN)
    below = max((b for b in bands if b.load <= load), key=lambda b: b.load)
    above = min((b for b in bands if b.load > load), key=lambda b: b.load)
    part = (load - below.load) / (above.load - below.load)
    return min(below.bound + part * (above.bound - below.bound), MOST_MARGIN)


def from_settings(bands: Sequence[tuple[float, float, float]]) -> TwinError | None:
    """(load, error, half width) of each band as settings hold them; None when nothing was measured."""
    return TwinError(tuple(ErrorBand(*band) for band in bands)) if bands else None


def read_twin_error(text: bytes | str, where: str = "") -> TwinError:
    """From the text of a fidelity.json; the rest of it is for people. Raises BadInput."""
    found = from_json(TwinError, text, where)
    if found.format != FORMAT:
        raise BadInput(f"format {found.format} is not known, {FORMAT} is", where=where, hint="run edgewise fidelity")
    wrong = [b for b in found.bands if not (b.load >= 0.0 and math.isfinite(b.bound) and b.half_width >= 0.0)]
    if wrong:
        raise BadInput(f"not a measured band: load {wrong[0].load:g}", where=where, hint="run edgewise fidelity")
    return found
