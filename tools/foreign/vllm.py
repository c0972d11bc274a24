"""vLLM: `/metrics` of its OpenAI-compatible server. Labels: model_name, engine (several are summed)."""

from __future__ import annotations

from tools.foreign.page import LATENCY, SERVICE, Answers, counted, gauge, histogram, timed
from tools.foreign.records import Busy, Reading, Resident, What

E2E = "vllm:e2e_request_latency_seconds"
INFERENCE = "vllm:request_inference_time_seconds"
SUCCESS = "vllm:request_success_total"
RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
TOKENS = {"vllm:prompt_tokens_total": What.INPUT_TOKENS, "vllm:generation_tokens_total": What.OUTPUT_TOKENS}
NAMES = frozenset({SUCCESS, RUNNING, WAITING, *TOKENS}) | histogram(E2E) | histogram(INFERENCE)


def is_it(answers: Answers) -> bool:
    return any(name.startswith("vllm:") for name in answers.declared) or bool(
        answers.page and any(name.startswith("vllm:") for name, _ in answers.page.values)
    )


def read(answers: Answers) -> Reading:
    """Prompts are counted when they end; with those running and waiting that says how many came in. A server holds
    its models all the time."""
    page = answers.page
    assert page is not None
    counts = [*counted(page, SUCCESS, What.FINISHED), *timed(page, E2E, LATENCY), *timed(page, INFERENCE, SERVICE)]
    for name, what in TOKENS.items():
        counts += counted(page, name, what)
    waiting = gauge(page, WAITING)
    busy = [Busy(n, m, value, waiting.get((n, m), 0.0)) for (n, m), value in gauge(page, RUNNING).items()]
    models = sorted({b.model for b in busy} | {c.model for c in counts})
    return Reading(
        counts=tuple(counts),
        busy=tuple(busy),
        resident=tuple(Resident("", model) for model in models),
        models=tuple(models),
        whole=page.bad_lines == 0,
    )
