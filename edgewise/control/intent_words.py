"""An intent in plain words, as it is shown back before it takes effect."""

from __future__ import annotations

from datetime import timedelta

from edgewise.control.intent_entries import Moment
from edgewise.domain.intent import Expected, Intent
from edgewise.domain.plan import ANY


def words(intent: Intent, moment: Moment | None = None) -> str:
    """What it asks for and when, in one sentence per point. moment: to say times by the local clock too."""
    points = [f"a prompt of {w.model}{_at(w.access_node)} counts {w.weight:g} times as usual" for w in intent.weights]
    for f in intent.floors:
        points.append(f"{_kind(f.model)} gets at least {f.share:.0%} of a node's time while it has work there")
    points += [f"{p.model} stays loaded on {p.node}" for p in intent.pins]
    for x in intent.waits:
        points.append(f"no prompt{_of(x.model)} should take longer than {_duration(x.latency_s)}")
    points += [f"demand for {e.model}{_at(e.access_node)} is expected to be {_rate(e)}" for e in intent.demand]
    if intent.alpha is not None:
        points.append(f"fairness counts with alpha {intent.alpha:g}")
    return f"{_period(intent, moment)}: {'; '.join(points) or 'nothing is asked for'}."


def _period(intent: Intent, moment: Moment | None) -> str:
    begin = f"From {_time(intent.from_s, moment)}" if intent.from_s > 0 else "From the start"
    if moment is not None and intent.from_s <= moment.at_s:
        begin = "From now on"
    return f"{begin}{' until withdrawn' if intent.until_s is None else f' until {_time(intent.until_s, moment)}'}"


def _time(at_s: float, moment: Moment | None) -> str:
    if moment is None:
        return f"second {at_s:g} of the run"
    shows = (moment.clock(at_s) + timedelta(seconds=0.5)).replace(microsecond=0)
    day = "" if shows.date() == moment.shows.date() else shows.strftime("%Y-%m-%d ")
    return f"{day}{shows.strftime('%H:%M:%S' if shows.second else '%H:%M')} (second {at_s:.0f} of the run)"


def _at(node: str) -> str:
    return "" if node == ANY else f" that enters at {node}"


def _kind(model: str) -> str:
    return "every kind" if model == ANY else model


def _of(model: str) -> str:
    return "" if model == ANY else f" of {model}"


def _rate(e: Expected) -> str:
    if e.times is not None:
        return f"{e.times:g} times what is usual"
    return f"{e.rate_per_s:g} prompts per second"


def _duration(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:g} min"
