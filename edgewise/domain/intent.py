"""The operator's intent: what matters when, typed and dated. Its JSON form is published.

A sentence becomes one by way of a language model, a YAML file without one.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgewise.domain.plan import ANY, Floor, ReplicaGoal


@dataclass(frozen=True, slots=True, order=True)
class Weight:
    """How much a prompt of `model` (that enters at `access_node`; ANY: all) counts in the objective; 1 is usual."""

    model: str
    weight: float
    access_node: str = ANY


@dataclass(frozen=True, slots=True, order=True)
class Expected:
    """Demand announced: `rate_per_s` prompts per second, or `times` what is usual (exactly one of the two)."""

    model: str
    access_node: str = ANY
    rate_per_s: float | None = None
    times: float | None = None


@dataclass(frozen=True, slots=True, order=True)
class LongestWait:
    """No prompt of `model` (ANY: every kind) is to take longer than `latency_s`."""

    latency_s: float
    model: str = ANY


@dataclass(frozen=True, slots=True)
class Intent:
    """In force from `from_s` to `until_s` (run clock, s; None: until withdrawn). text: the operator's own words.
    alpha: weight of fairness instead of the setting's."""

    id: str
    from_s: float = 0.0
    until_s: float | None = None
    text: str = ""
    weights: tuple[Weight, ...] = ()
    floors: tuple[Floor, ...] = ()
    pins: tuple[ReplicaGoal, ...] = ()
    waits: tuple[LongestWait, ...] = ()
    demand: tuple[Expected, ...] = ()
    alpha: float | None = None

    def holds(self, at_s: float) -> bool:
        """Whether it is in force at `at_s`."""
        return self.from_s <= at_s and (self.until_s is None or at_s < self.until_s)
