"""The caller's ledger: what was sent, what came back. It knows nothing of gateway or nodes but their answers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from edgewise.domain.measures import mean, quantile


@dataclass(frozen=True, slots=True)
class Entry:
    """One prompt as its caller saw it. Times are run-clock seconds.

    due_s: when the workload wanted it sent; latency counts from here, so that a late sender hides nothing.
    sent_s: None when it never was. answered_s: the last byte of a complete HTTP answer; None without one.
    ok: the answer holds what was asked for (text, or PNG images). error: why it is not ok.
    """

    id: str
    model: str
    access_node: str
    due_s: float
    streamed: bool = False
    sent_s: float | None = None
    answered_s: float | None = None
    status: int | None = None
    ok: bool = False
    node: str = ""
    error: str = ""

    @property
    def latency_s(self) -> float | None:
        return None if self.answered_s is None else self.answered_s - self.due_s


@dataclass(frozen=True, slots=True)
class Ledger:
    """All prompts of a replay, in order of their due time. `stopped`: it ended before all were sent."""

    entries: tuple[Entry, ...]
    stopped: bool = False

    @property
    def sent(self) -> int:
        return sum(e.sent_s is not None for e in self.entries)

    @property
    def answered(self) -> int:
        """Any complete HTTP answer counts, an error too."""
        return sum(e.answered_s is not None for e in self.entries)

    @property
    def lost(self) -> int:
        return self.sent - self.answered

    @property
    def ok(self) -> int:
        return sum(e.ok for e in self.entries)

    def errors(self) -> dict[str, int]:
        """How often each error was seen, most frequent first."""
        return dict(Counter(e.error for e in self.entries if e.error).most_common())

    def summary(self) -> dict[str, Any]:
        """Plain figures, overall and per model. Latencies are of the prompts that were ok, seconds."""
        models = sorted({e.model for e in self.entries})
        figures = _figures(self.entries)
        figures["per_model"] = {m: _figures([e for e in self.entries if e.model == m]) for m in models}
        figures["errors"] = self.errors()
        figures["stopped"] = self.stopped
        return figures


def _figures(entries: tuple[Entry, ...] | list[Entry]) -> dict[str, Any]:
    latencies = sorted(e.latency_s for e in entries if e.ok and e.latency_s is not None)
    late = sorted(e.sent_s - e.due_s for e in entries if e.sent_s is not None)
    statuses = Counter(str(e.status) for e in entries if e.status is not None)
    sent = sum(e.sent_s is not None for e in entries)
    answered = sum(e.answered_s is not None for e in entries)
    return {
        "sent": sent,
        "answered": answered,
        "lost": sent - answered,
        "ok": sum(e.ok for e in entries),
        "statuses": dict(sorted(statuses.items())),
        "mean_latency_s": mean(latencies),
        "p50_latency_s": quantile(latencies, 0.5),
        "p95_latency_s": quantile(latencies, 0.95),
        "late_p99_s": quantile(late, 0.99),
    }
