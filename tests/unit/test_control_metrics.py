"""The controller's /metrics: names, labels and values."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

from serving.control_api.app import create_app
from serving.control_api.metrics import Account, AgentUse
from tests.support.live_view import LiveView

ACCOUNT = Account(
    rungs={"optimiser": 7, "llm": 2},
    calls={("planner", "answered"): 3, ("planner", "failed"): 1},
    agents={"planner": AgentUse(4000, 6.5, 0.02)},
    ladder={"repaired": 1, "reasked": 0, "fallback": 2, "skipped": 5, "tool": 4},
    approvals={"waiting": 1, "approved": 2, "expired": 0},
    rests=True,
    rested=1,
)


async def scraped(account: Account | None) -> httpx.Response:
    app = create_app(LiveView(), account=(lambda: account) if account is not None else None)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://control") as api:
        return await api.get("/metrics")


async def test_every_figure_of_the_account_is_a_series() -> None:
    answer = await scraped(ACCOUNT)
    assert answer.headers["content-type"].startswith("text/plain")
    found = {
        (s.name, *sorted(s.labels.items())): s.value
        for family in text_string_to_metric_families(answer.text)
        for s in family.samples
    }
    assert found["edgewise_decision_rung_total", ("rung", "optimiser")] == 7
    assert found["edgewise_llm_calls_total", ("agent", "planner"), ("outcome", "failed")] == 1
    assert found["edgewise_llm_tokens_total", ("agent", "planner")] == 4000
    assert found["edgewise_llm_seconds_total", ("agent", "planner")] == 6.5
    assert found["edgewise_llm_cost_total", ("agent", "planner")] == 0.02
    assert found["edgewise_llm_ladder_total", ("step", "fallback")] == 2
    assert found["edgewise_llm_demotions_total",] == 1
    assert found["edgewise_llm_rests",] == 1
    assert found["edgewise_approvals", ("state", "waiting")] == 1


async def test_a_stored_run_has_none() -> None:
    assert (await scraped(None)).status_code == 404
