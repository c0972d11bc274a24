"""Shifts of a scenario and the stretch of time after each in which a policy has to adapt."""

from __future__ import annotations

from dataclasses import dataclass

from evals.scenario import NodeDown, NodeSlow, NodeUp, PopularityShift, Scenario

WINDOW_S = 1800.0  # an hour or more after a shift, what is left is the policy's steady state, not its adaptation


@dataclass(frozen=True, slots=True)
class Shift:
    """label: for people; [from_s, until_s): when adapting is looked at, run seconds."""

    label: str
    from_s: float
    until_s: float


def shifts(scenario: Scenario) -> tuple[Shift, ...]:
    """What changes demand or nodes, in time order; several at one moment are one. A window ends at the next shift."""
    changes: dict[float, list[str]] = {}
    for event in sorted(scenario.events, key=lambda e: e.at_s):
        if isinstance(event, PopularityShift):
            what = "popularity shift"
        elif isinstance(event, NodeDown):
            what = f"{event.node} down"
        elif isinstance(event, NodeUp):
            what = f"{event.node} up"
        elif isinstance(event, NodeSlow):
            what = f"{event.node} at 1/{event.factor:g} speed"
        else:
            continue  # telemetry that goes stale changes what is known, not what is
        changes.setdefault(event.at_s, []).append(what)
    starts = list(changes)
    ends = [min([s + WINDOW_S, *(t for t in starts if t > s)]) for s in starts]
    return tuple(Shift(", ".join(changes[s]), s, e) for s, e in zip(starts, ends, strict=True))
