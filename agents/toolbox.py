"""The planner's tools: read-only; but for queries to Prometheus each is a pure function of the job, the optimiser's
result and the settings.

What a tool says is a compact JSON document of bounded size, escaped like the prompt; a call that makes no sense is
answered with what is wrong about it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agents.figures import forecast_tables, telemetry_tables
from agents.mending import clean_text
from agents.tables import bounded, document, table
from agents.tool_specs import PROMQL, SPECS
from agents.trying import cases_of, optimiser_says, replicas_of, tried
from edgewise.control.ports import MetricQuery, ToolCall, ToolSpec
from edgewise.control.state import EpochResult, Job
from edgewise.domain.errors import EdgewiseError
from edgewise.settings import Settings

MAX_ANSWER_CHARS = 4000
QUERY_S = 2.0  # longest wait for Prometheus

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What a tool says, and how long it took to say it."""

    text: str
    seconds: float = 0.0


class Tools(Protocol):
    """What a model may call. `call` raises nothing but cancellation: what is wrong is in the answer."""

    @property
    def specs(self) -> Sequence[ToolSpec]: ...

    async def call(self, call: ToolCall) -> ToolAnswer: ...


def failed(why: str) -> str:
    """The answer that says what is wrong with a call."""
    return document({"error": clean_text(why, 300)})


class Toolbox:
    """Implements Tools for one planner decision. metrics: a Prometheus server, where there is one; what it says is
    the only answer that is no function of the rest."""

    def __init__(self, job: Job, result: EpochResult, settings: Settings, metrics: MetricQuery | None = None) -> None:
        self._job, self._result, self._settings, self._metrics = job, result, settings, metrics

    @property
    def specs(self) -> Sequence[ToolSpec]:
        return SPECS if self._metrics is None else (*SPECS, PROMQL)

    async def call(self, call: ToolCall) -> ToolAnswer:
        began = time.monotonic()
        if call.name == PROMQL.name and self._metrics is not None:
            text = await self._asked(self._metrics, call)
        else:
            text = await asyncio.to_thread(self.answer, call)
        return ToolAnswer(text, time.monotonic() - began)

    async def _asked(self, metrics: MetricQuery, call: ToolCall) -> str:
        try:
            promql = json.loads(call.arguments or "{}")["promql"]
            async with asyncio.timeout(QUERY_S):
                found = await metrics.query(str(promql))
        except (ValueError, TypeError, KeyError, RecursionError):
            return failed("the arguments are not a JSON object with `promql`")
        except TimeoutError:
            return failed(f"no answer within {QUERY_S:g} s")
        except EdgewiseError as error:
            return failed(error.message)
        rows = [[dict(s.labels), s.value] for s in found]
        return bounded({"series": table(["labels", "value"], rows)}, MAX_ANSWER_CHARS)

    def answer(self, call: ToolCall) -> str:
        """The same call always gets the same answer."""
        tool = _TOOLS.get(call.name)
        if tool is None:
            return failed(f"no such tool: {call.name!r}; there are {', '.join(s.name for s in self.specs)}")
        try:
            arguments = json.loads(call.arguments or "{}")
        except (ValueError, RecursionError) as error:
            return failed(f"the arguments are not JSON: {error}")
        if not isinstance(arguments, dict):
            return failed("the arguments are not a JSON object")
        try:
            return bounded(tool(self._job, self._result, self._settings, arguments), MAX_ANSWER_CHARS)
        except Exception as error:  # a mistake of ours here may cost an answer, never a decision
            _log.exception("the tool %s failed", call.name)
            return failed(f"the tool failed: {type(error).__name__}: {error}")


_Tool = Callable[[Job, EpochResult, Settings, Mapping[str, Any]], Mapping[str, Any]]

_TOOLS: dict[str, _Tool] = {
    "query_telemetry": telemetry_tables,
    "list_replicas": replicas_of,
    "recall_cases": cases_of,
    "propose_by_optimiser": optimiser_says,
    "simulate_plan": tried,
    "forecast": forecast_tables,
}
