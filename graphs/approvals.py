"""The book of approvals: requests that wait for a person, and those that have ended."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, replace

from edgewise.control.approvals import ApprovalOver, UnknownApproval, Word, WrongHash, digest
from edgewise.control.state import Job
from edgewise.domain.decision import Approval, ApprovalState, Decision
from edgewise.domain.plan import ReplicaGoal

KEPT = 64  # requests that have ended, shown beside those that wait


@dataclass(frozen=True, slots=True)
class Waiting:
    """job, decision: as the gate left them. base: the replicas the plan is to replace."""

    job: Job
    decision: Decision
    approval: Approval
    base: tuple[ReplicaGoal, ...]


class Approvals:
    """The requests of one controller: those that wait, and what became of the latest others."""

    def __init__(self) -> None:
        self.waiting: dict[str, Waiting] = {}
        self.past: deque[Approval] = deque(maxlen=KEPT)
        self.ended: Counter[str] = Counter()

    def all(self) -> list[Approval]:
        """Those that wait first, then those that ended; newest first."""
        return [w.approval for w in reversed(self.waiting.values())] + list(reversed(self.past))

    def add(self, waiting: Waiting) -> list[Waiting]:
        """A new request. Gives the older ones that want the same, which it stands for from now on."""
        mine = set(waiting.decision.plan.replicas)
        older = [w for w in self.waiting.values() if set(w.decision.plan.replicas) == mine]
        self.waiting[waiting.approval.id] = waiting
        return older

    def due(self, now_s: float) -> list[Waiting]:
        return [w for w in self.waiting.values() if now_s >= w.approval.expires_s]

    def find(self, approval_id: str, shown: str, now_s: float) -> Waiting:
        """The waiting request that an answer is for. Raises UnknownApproval, ApprovalOver, or WrongHash when what was
        shown is not what waits."""
        for past in self.past:
            if past.id == approval_id:
                raise ApprovalOver(f"{approval_id} is {past.state.value}" + (f": {past.why}" if past.why else ""),
                                   where=approval_id, hint="GET /control/v1/approvals lists what waits")  # fmt: skip
        waiting = self.waiting.get(approval_id)
        if waiting is None:
            raise UnknownApproval(f"no approval {approval_id[:80]!r}", hint="GET /control/v1/approvals lists them")
        if now_s >= waiting.approval.expires_s:
            late_s = now_s - waiting.approval.expires_s
            raise ApprovalOver(f"{approval_id} expired {late_s:.1f} s ago", where=approval_id,
                               hint="a newer one may wait; GET /control/v1/approvals lists them")  # fmt: skip
        if not shown or shown != waiting.approval.hash or shown != digest(waiting.decision.plan,
                                                                          waiting.job.observation):  # fmt: skip
            raise WrongHash("the hash is not that of the plan and the observation that wait", where=approval_id,
                            hint="read the request again and send the hash it shows")  # fmt: skip
        return waiting

    def end(self, approval: Approval, word: Word) -> None:
        self.waiting.pop(approval.id, None)
        self.past.append(replace(approval, state=word.state, by=word.by, why=word.why, answered_s=word.at_s))
        self.ended[word.state.value] += 1


def counts(approvals: Approvals) -> dict[str, int]:
    """How many requests ended in which state, and how many wait."""
    found = {s.value: approvals.ended[s.value] for s in ApprovalState if s is not ApprovalState.WAITING}
    return {ApprovalState.WAITING.value: len(approvals.waiting), **found}
