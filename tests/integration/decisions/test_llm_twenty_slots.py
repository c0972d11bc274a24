"""An endpoint operated by someone else: honest answers in the forms models give them, over twenty slots."""

from __future__ import annotations

from pathlib import Path

from agents.chat import OpenAIChat
from edgewise.domain.decision import Decision, LlmUse
from tests.support.control_world import LARGE_HEAVY, SD_HEAVY, Loop, rates, seven
from tests.support.llm_server import LlmServer

FORMS = (
    "valid", "fences", "prose", "thinking", "trailing-comma", "misspelt", "two-objects", "valid", "truncated-late",
    "infeasible", "wrapped", "single-quotes", "wrong-types",
)  # fmt: skip


def decisions(loop: Loop) -> list[Decision]:
    return list({d.id: d for d in reversed(loop.journal.decisions)}.values())[::-1]


async def test_imperfect_answers_give_valid_plans_and_none_is_applied_that_the_twin_predicts_worse(
    tmp_path: Path,
) -> None:
    async with LlmServer(FORMS * 20, tools=True, rejects=("response_format",)) as server:
        chat = OpenAIChat(server.url)
        async with Loop(tmp_path, seven(host_cores=None), chat=chat, gate_draws=6, llm_timeout_s=60.0) as loop:
            loop.batch = 2.0
            loop.rate = rates(loop.world, SD_HEAVY, 0.5)
            await loop.slots(10)
            loop.rate = rates(loop.world, LARGE_HEAVY, 0.5)
            await loop.slots(10)
        await chat.aclose()
    found = decisions(loop)
    assert len(found) == 21
    use = sum((d.llm for d in found), LlmUse())
    assert use.calls >= 10
    assert use.fallbacks <= 0.05 * use.calls
    weighed = [d for d in found if any(c.source.startswith("llm") for c in d.candidates)]
    assert len(weighed) >= 5
    for d in weighed:
        score = {c.plan.id: c.score.mean for c in d.candidates}
        base = next(c for c in d.candidates if c.source == "incumbent")
        chosen = next(c for c in d.candidates if c.plan.id == d.chosen)
        if chosen.source.startswith("llm"):
            assert score[d.chosen] == min(score.values())
            assert score[d.chosen] < base.score.mean
