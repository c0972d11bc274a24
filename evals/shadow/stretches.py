"""From looks to what happened between them: how much each counter grew, what was there, which prompts ended.

A look that failed makes the stretch around it longer, and nothing is lost. A counter that fell, or is gone from a
page that was read whole, means that the process started again: what it shows then was counted since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from evals.shadow.recorder import Poll
from tools.foreign.records import Busy, Key, Reading, Resident, Served

At = tuple[str, str]  # node, model


@dataclass(frozen=True, slots=True)
class Stretch:
    """Between two looks at an endpoint, run seconds. grown: by counter; busy_before, busy: prompts there at begin and
    end, by (node, model), None where the system does not say; resident: models that held memory at the end; served:
    prompts that ended meanwhile, ended_s in run seconds; tasks: ids that were new, by (node, model); used: models
    whose mark of last use moved; restarted: the process began anew."""

    endpoint: str
    begin_s: float
    end_s: float
    grown: Mapping[Key, float]
    busy_before: Mapping[At, float] | None
    busy: Mapping[At, float] | None
    resident: tuple[Resident, ...]
    served: tuple[Served, ...] = ()
    tasks: int = 0
    used: tuple[str, ...] = ()
    restarted: bool = False

    @property
    def span_s(self) -> float:
        return self.end_s - self.begin_s


def stretches(polls: Iterable[Poll]) -> dict[str, tuple[Stretch, ...]]:
    """By endpoint, in order of time. An endpoint that never answered twice has none."""
    by_endpoint: dict[str, list[Poll]] = {}
    for poll in polls:
        if poll.reading is not None:
            by_endpoint.setdefault(poll.endpoint, []).append(poll)
    return {name: tuple(_of_endpoint(several)) for name, several in sorted(by_endpoint.items())}


def _of_endpoint(polls: Sequence[Poll]) -> Iterable[Stretch]:
    first = polls[0].reading
    assert first is not None
    before: Mapping[Key, float] = _counts(first)
    seen, tasks, used = {s.id for s in first.served}, set(first.tasks), _used(first)
    busy, at_s = _busy(first.busy), polls[0].at_s
    for poll in polls[1:]:
        now = poll.reading
        assert now is not None
        if poll.at_s <= at_s:
            continue
        counts = _counts(now)
        gone = now.whole and not before.keys() <= counts.keys()
        restarted = gone or any(counts[key] < value for key, value in before.items() if key in counts)
        base = {} if restarted else before
        fresh = [s for s in now.served if s.id not in seen]
        marks = _used(now)
        yield Stretch(
            poll.endpoint,
            at_s,
            poll.at_s,
            {key: value - base.get(key, 0.0) for key, value in counts.items()},
            # What was there when a process died is gone with it.
            {} if restarted and busy is not None else busy,
            _busy(now.busy),
            now.resident,
            tuple(_on_clock(s, poll, at_s) for s in fresh),
            len(set(now.tasks) - tasks),
            tuple(m for m, mark in marks.items() if used.get(m, mark) != mark),
            restarted,
        )
        before = counts if now.whole else {**base, **counts}
        seen, tasks = seen | {s.id for s in now.served}, tasks | set(now.tasks)
        used, busy, at_s = {**used, **marks}, _busy(now.busy), poll.at_s


def _counts(reading: Reading) -> dict[Key, float]:
    return {c.key: c.value for c in reading.counts}


def _busy(rows: Sequence[Busy]) -> dict[At, float] | None:
    """Running and waiting prompts; None: the system does not say."""
    if not rows:
        return None
    found: dict[At, float] = {}
    for b in rows:
        found[b.node, b.model] = found.get((b.node, b.model), 0.0) + b.running + b.waiting
    return found


def _used(reading: Reading) -> dict[str, str]:
    return {r.model: r.used for r in reading.resident if r.used}


def _on_clock(served: Served, poll: Poll, begin_s: float) -> Served:
    """On the run clock. Its clock may differ from ours, and it ended between the two looks for sure."""
    at_s = served.ended_s - poll.wall_s + poll.at_s
    return replace(served, ended_s=min(max(at_s, begin_s), poll.at_s))
