"""KServe and the Open Inference Protocol: `/v2`, and `/metrics` of KServe's own model server, of Knative's
queue-proxy, of Triton, as far as they are on one page (KServe's metric aggregation puts them on one)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tools.foreign.page import LATENCY, SERVICE, Answers, counted, histogram, timed
from tools.foreign.records import Count, Reading, Resident, What

SERVER, READY, MODELS = "/v2", "/v2/health/ready", "/v2/models"
PREDICT = "request_predict_seconds"  # KServe's model server: predict alone
REVISION = "revision_request_latencies"  # queue-proxy: milliseconds, queueing included
REVISION_COUNT = "revision_request_count"
APP = "revision_app_request_latencies"  # queue-proxy: behind its queue
TRITON_COUNT, TRITON_FAILED = "nv_inference_request_success", "nv_inference_request_failure"
TRITON_US, TRITON_QUEUE_US = "nv_inference_request_duration_us", "nv_inference_queue_duration_us"
FAMILIES = frozenset({PREDICT, REVISION, REVISION_COUNT, APP, TRITON_COUNT, TRITON_US})
NAMES = FAMILIES | histogram(PREDICT) | histogram(REVISION) | histogram(APP) | {TRITON_FAILED, TRITON_QUEUE_US}
NAMES = frozenset(NAMES | {f"{REVISION_COUNT}_total"})
SERVICE_LABEL, MS, US = "service_name", 1e-3, 1e-6


def is_it(answers: Answers) -> bool:
    known = {name.removesuffix("_total") for name in answers.declared}
    return bool(known & FAMILIES) or _is_server(answers.json.get(SERVER))


def read(answers: Answers) -> Reading:
    """Latency is the queue-proxy's or Triton's where they are there, else the model server's own, which does not see
    its queue. Prompts are counted when they end."""
    page = answers.page
    listed = _listed(answers.json.get(MODELS))
    if page is None:
        return Reading(resident=tuple(Resident("", m) for m in listed), models=tuple(listed))
    own = timed(page, PREDICT, SERVICE)
    proxy = [
        *counted(page, REVISION_COUNT, What.FINISHED, SERVICE_LABEL),
        *counted(page, f"{REVISION_COUNT}_total", What.FINISHED, SERVICE_LABEL),
        *timed(page, REVISION, LATENCY, SERVICE_LABEL, scale=MS),
    ]
    if not own:
        proxy += timed(page, APP, SERVICE, SERVICE_LABEL, scale=MS)
    counts = _named_alike(proxy, own) + own + _triton(answers)
    if own and not proxy:
        counts += [replace(c, what=_AS_LATENCY[c.what]) for c in own]
    finished = {c.model for c in counts if c.what is What.FINISHED}
    counts += [
        replace(c, what=What.FINISHED) for c in counts if c.what is What.LATENCY_COUNT and c.model not in finished
    ]
    models = sorted({*listed, *(c.model for c in counts)} - {""})
    return Reading(
        counts=tuple(counts),
        resident=tuple(Resident("", m) for m in models),
        models=tuple(models),
        whole=page.bad_lines == 0,
    )


_AS_LATENCY = {
    What.SERVICE_S: What.LATENCY_S,
    What.SERVICE_COUNT: What.LATENCY_COUNT,
    What.SERVICE_BUCKET: What.LATENCY_BUCKET,
}


def _named_alike(proxy: list[Count], own: list[Count]) -> list[Count]:
    """The queue-proxy names a service and the model server a model; with one of each they are the same."""
    services, models = {c.model for c in proxy}, {c.model for c in own}
    if len(services) == 1 and len(models) == 1:
        return [replace(c, model=next(iter(models))) for c in proxy]
    return proxy


def _triton(answers: Answers) -> list[Count]:
    page = answers.page
    assert page is not None
    finished = counted(page, TRITON_COUNT, What.FINISHED, "model")
    total = counted(page, TRITON_US, What.LATENCY_S, "model", scale=US)
    queue = {c.model: c.value for c in counted(page, TRITON_QUEUE_US, What.LATENCY_S, "model", scale=US)}
    found = [*finished, *counted(page, TRITON_FAILED, What.FAILED, "model"), *total]
    for c in total:
        found.append(replace(c, what=What.SERVICE_S, value=max(0.0, c.value - queue.get(c.model, 0.0))))
    for c in finished:
        found += [replace(c, what=What.LATENCY_COUNT), replace(c, what=What.SERVICE_COUNT)]
    return found


def _is_server(found: Any) -> bool:
    return isinstance(found, dict) and "name" in found and "version" in found


def _listed(found: Any) -> list[str]:
    rows = found.get("models") if isinstance(found, dict) else None
    return sorted(str(r) for r in rows if isinstance(r, str)) if isinstance(rows, list) else []
