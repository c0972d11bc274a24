"""What the language model costs, and when its budget is spent. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from edgewise.control.ports import ChatReply
from edgewise.settings import Settings

HOUR_S = 3600.0
DAY_HOURS = 24
CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Spent:
    """tokens: of the run so far. hours: (hour of the run clock, cost in it), oldest first, those of the last day."""

    tokens: int = 0
    hours: tuple[tuple[int, float], ...] = ()

    def of_day(self, now_s: float) -> float:
        """Cost of the last 24 hours, counted in whole hours of the run clock."""
        return sum(cost for hour, cost in self.hours if hour > _hour(now_s) - DAY_HOURS)


def cost_of(reply: ChatReply, settings: Settings) -> float:
    """What a reply cost by the prices set. Where the server does not say how many of the tokens were the answer's,
    they are taken at four characters each, so that no answer is free."""
    answer = reply.answer_tokens or min(reply.tokens, -(-len(reply.text) // CHARS_PER_TOKEN))
    asked = max(0, reply.tokens - answer)
    return (asked * settings.llm_price_in + answer * settings.llm_price_out) / 1e6


def paid(spent: Spent, tokens: int, cost: float, at_s: float) -> Spent:
    """The books with one more entry."""
    now = _hour(at_s)
    hours = dict(spent.hours)
    if cost > 0:
        hours[now] = hours.get(now, 0.0) + cost
    kept = tuple(sorted((h, c) for h, c in hours.items() if h > now - DAY_HOURS))
    return Spent(spent.tokens + tokens, kept)


def exhausted(spent: Spent, now_s: float, settings: Settings) -> str:
    """Why no more may be spent now, in words; empty when some may."""
    if 0 < settings.llm_budget_tokens_per_run <= spent.tokens:
        return f"budget spent: {spent.tokens} of {settings.llm_budget_tokens_per_run} tokens for this run"
    day = spent.of_day(now_s)
    if 0 < settings.llm_budget_cost_per_day <= day:
        return f"budget spent: {day:.4g} of {settings.llm_budget_cost_per_day:g} for 24 hours"
    return ""


def _hour(at_s: float) -> int:
    return int(at_s // HOUR_S)
