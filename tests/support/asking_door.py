"""An in-memory approvals door for tests: one request at a time, with the rules of the real one."""

from __future__ import annotations

from dataclasses import replace

from edgewise.control.approvals import ApprovalOver, UnknownApproval, WrongHash
from edgewise.domain.decision import Approval, ApprovalState, Score

REQUEST = Approval(
    id="a-000012",
    decision="d-000012",
    hash="5f" * 32,
    plan="p-000012-o1",
    state=ApprovalState.WAITING,
    asked_s=48.0,
    expires_s=108.0,
    changes=(
        "load stable-diffusion on edge-3",
        "stop gpt2 on edge-3",
        "new route weights for gpt2, stable-diffusion",
    ),
    reason="optimiser plan (+1 −1 replicas) predicted 12.4% better than the incumbent, 4.1% asked (margin 3.0%, "
    "draws ±1.1%)",
    runner_up="incumbent (p-000011-w), predicted 12.4% behind",
    margin=0.124,
    required=0.041,
    scores=(
        ("incumbent", "p-000011-w", Score(1.91, 1.83, 1.99)),
        ("optimiser", "p-000012-o1", Score(1.80, 1.74, 1.86)),
        ("llm", "p-000012-l2", Score(1.84, 1.77, 1.91)),
    ),
)


class AskingDoor:
    """Holds REQUEST and two that have ended."""

    def __init__(self) -> None:
        self.items = [
            REQUEST,
            replace(REQUEST, id="a-000009", decision="d-000009", state=ApprovalState.REJECTED, by="ada",
                    answered_s=40.0),
            replace(REQUEST, id="a-000008", decision="d-000008", state=ApprovalState.EXPIRED, answered_s=36.0,
                    why="nobody answered in time"),
        ]  # fmt: skip
        self.words: list[tuple[str, bool, str, str]] = []

    async def approvals(self) -> list[Approval]:
        return self.items

    async def answer(self, approval_id: str, approve: bool, shown: str, by: str = "") -> Approval:
        at = next((i for i, a in enumerate(self.items) if a.id == approval_id), None)
        if at is None:
            raise UnknownApproval(f"no approval {approval_id!r}")
        if self.items[at].state is not ApprovalState.WAITING:
            raise ApprovalOver(f"{approval_id} is {self.items[at].state.value}")
        if shown != self.items[at].hash:
            raise WrongHash("the hash is not that of what waits")
        self.words.append((approval_id, approve, shown, by))
        state = ApprovalState.APPROVED if approve else ApprovalState.REJECTED
        self.items[at] = replace(self.items[at], state=state, by=by, answered_s=50.0)
        return self.items[at]
