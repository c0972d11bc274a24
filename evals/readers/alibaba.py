"""Alibaba GenTD26: image generations (Stable Diffusion with LoRA adapters) of a production service, three weeks.

Where: github.com/alibaba/clusterdata, cluster-trace-v2026-GenAI/lora_request_trace.csv. Paper: "Understanding
Diffusion Model Serving in Production", SoCC 2025. No licence file; its README asks for research or study use.

Columns: gmt_create, predict_type, predict_status, exec_time_seconds, groupId, prompt_length, negative_prompt_length,
num_images_per_prompt, num_inference_steps, checkpoint_model_version_id, num_lora. Traps:
* gmt_create was shifted by its publishers. Its lunch and night dips fit a local time about 17 h later; only gaps
  between rows are used here. It has no zone; China has no daylight saving. Resolution is a second.
* Whole numbers are written as 63.0, unknown ones as nothing.
* Dropped and counted: rows still PENDING or PROCESSING when the file was made, and rows without any parameters: what
  they asked for is not known (33 of 26,823). FAILED rows stay: they were demand; extra_json has the status.
* exec_time_seconds is end to end, queue included, in whole seconds: not a GPU's service time. Kept as exec_s.
* Lengths of prompts are in characters, so token counts are unknown; prompt_chars has them.
* num_images_per_prompt counts images made by one request, num_inference_steps the steps of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from evals.readers.lines import csv_records
from evals.readers.records import NS, Dropped, Format, Item, Record
from evals.traces import ModelClass, nearest

NEEDS = (
    "gmt_create", "predict_type", "predict_status", "exec_time_seconds", "groupId", "prompt_length",
    "num_images_per_prompt", "num_inference_steps", "checkpoint_model_version_id", "num_lora",
)  # fmt: skip
PARAMETERS = ("prompt_length", "num_images_per_prompt", "num_inference_steps", "checkpoint_model_version_id")
TYPES = ("TXT_2_IMG", "IMG_2_IMG", "INPAINTING")
ENDED, UNENDED = ("SUCCEED", "FAILED"), ("PENDING", "PROCESSING")


def read(path: Path, model_class: ModelClass | None) -> Iterator[Item | Dropped]:
    for record in csv_records(path, NEEDS):
        yield record if isinstance(record, Dropped) else _item(record, model_class or ModelClass.IMAGE_GENERATION)


def _item(record: Record, kind: ModelClass) -> Item | Dropped:
    """Everything is checked before a row may be dropped: a broken row is an error, whatever its status."""
    stamp = record.stamp("gmt_create")
    what, status = _one_of(record, "predict_type", TYPES), _one_of(record, "predict_status", (*ENDED, *UNENDED))
    exec_ns = record.seconds("exec_time_seconds")
    found: dict[str, Any] = {
        "exec_s": None if exec_ns is None else exec_ns / NS,
        "steps": record.whole("num_inference_steps"),
        "type": what,
        "status": status,
        "ckpt": record.text("checkpoint_model_version_id"),
        "loras": record.whole("num_lora"),
        "group": record.text("groupId"),
        "prompt_chars": record.whole("prompt_length"),
    }
    images = record.whole("num_images_per_prompt")
    if status in UNENDED:
        return Dropped(record.line, "not ended when the file was made (PENDING, PROCESSING)")
    if all(record.text(column) is None for column in PARAMETERS):
        return Dropped(record.line, "without parameters")
    extra = orjson.dumps({key: value for key, value in found.items() if value is not None}).decode()
    remarks = ("failed",) if status == "FAILED" else ()
    return Item(stamp.ns, record.line, kind, None, None, images, extra, remarks)


def _one_of(record: Record, column: str, known: tuple[str, ...]) -> str:
    value = record.text(column) or ""
    if value not in known:
        record.bad(column, f"unknown value {value!r}", nearest(value, known))
    return value


FORMATS = (
    Format(
        "alibaba-genai",
        "Alibaba cluster-trace-v2026-GenAI (GenTD26), lora_request_trace",
        "github.com/alibaba/clusterdata, cluster-trace-v2026-GenAI",
        "csv",
        NEEDS,
        read,
        lambda path: "alibaba-gentd26-lora",
        since_1970=True,
        notes=("times were shifted by the publisher: local time is about 17 h later than written",),
    ),
)
