"""The language model's account in words, as the dashboard shows it."""

from __future__ import annotations

from serving.control_api.schema import DecisionRow, LiftRow, LlmRow
from tests.support.asking_door import REQUEST
from tests.support.live_view import LiveView
from ui.words import approval_line, lift_line, llm_line, llm_totals


async def rows() -> list[DecisionRow]:
    view = LiveView()
    await view.advance()
    await view.advance()
    plain = await view.decisions(3)
    asked = LlmRow(calls=2, tokens=1500, seconds=3.0, cost=0.0125, fallbacks=1, skipped=1, tool_calls=3)
    return [
        plain[0].model_copy(update={"llm": asked, "lift": LiftRow(predicted=0.1, realised=-0.2)}),
        plain[1].model_copy(update={"llm": asked, "lift": LiftRow(predicted=0.3, realised=None)}),
        plain[2],
    ]


async def test_a_decision_says_what_its_calls_cost_and_were_worth() -> None:
    first, _, last = await rows()
    assert (
        llm_line(first.llm) == "2 calls · 1500 tokens · 3.00 s · cost 0.0125 · 3 tool calls · 1 fallbacks · 1 skipped"
    )
    assert lift_line(first) == "Lift over the optimiser: predicted +10.0 %, in hindsight -20.0 %."
    assert llm_line(last.llm) == "No language model was asked."
    assert llm_line(last.llm, "budget spent") == "Not asked: budget spent."
    assert llm_line(LlmRow(skipped=2)).endswith("2 calls skipped: nothing had changed.")
    assert lift_line(last) == ""


async def test_totals_are_over_the_decisions_shown() -> None:
    found = await rows()
    assert llm_totals(found) == {
        "Calls": "4",
        "Skipped": "2",
        "Fallbacks": "2",
        "Tokens": "3,000",
        "Waited": "6.00 s",
        "Cost": "0.025",
        "Lift, predicted": "+20.0 %",
        "Lift, hindsight": "-20.0 %",
    }
    assert llm_totals(found[2:]) == {}


def test_what_became_of_a_request_is_a_line() -> None:
    assert approval_line(REQUEST).startswith("a-000012 (d-000012) waiting — load stable-diffusion on edge-3; stop")
