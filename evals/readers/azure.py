"""Azure LLM inference traces of 2023 and 2024: requests to two production services, conversation and code.

Where: github.com/Azure/AzurePublicDataset. 2023 (Splitwise, ISCA 2024): data/AzureLLMInferenceTrace_{conv,code}.csv,
an hour. 2024 (DynamoLLM, HPCA 2025): AzureLLMInferenceTrace_{conv,code}_1week.csv, linked from
AzureLLMInferenceDataset2024.md, 27 and 17 million rows. Licence CC-BY-4.0.

Columns in both: TIMESTAMP, ContextTokens (input), GeneratedTokens (output). Traps:
* Fractions of a second have 7 digits in 2023, 6 or none in 2024; all digits are kept.
* 2024 times carry an offset (+00:00) and are turned into UTC by it, so a change of clocks does not show. 2023 times
  carry none and are taken as they are: the file spans an hour without a change of clocks. A file that has both kinds
  is refused.
* Nothing in a row says which service it is from: the file's name does (conv, code), else a class must be given.
* The services of one year do not start together (2023: code 77.3 s after conv; 2024: conv two days after code), and
  each trace made of them starts at 0. To put two side by side, shift them by the difference of their `starts_at`.
* Lines end in CR LF. Sorting is not promised, so it is checked. Zero generated tokens are kept as the source says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from edgewise.domain.errors import BadInput
from evals.readers.lines import csv_records
from evals.readers.records import Dropped, Format, Item
from evals.traces import ModelClass

NEEDS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
CLASSES = {"conv": ModelClass.TEXT_LARGE, "code": ModelClass.TEXT_SMALL}
_SERVICE = re.compile(r"(?<![a-z])(conv|code)(?![a-z])")
_ZONED = re.compile(r".*(Z|[+-]\d\d:?\d\d)\s*", re.ASCII)


def read(path: Path, model_class: ModelClass | None, *, zoned: bool) -> Iterator[Item | Dropped]:
    """zoned: times carry an offset. Raises BadInput when neither the name nor `model_class` says what was asked."""
    kind = model_class or _class_by_name(path)
    for record in csv_records(path, NEEDS):
        if isinstance(record, Dropped):
            yield record
            continue
        stamp = record.stamp("TIMESTAMP")
        if stamp.zoned is not zoned:
            has, reads = ("an", "azure2024") if stamp.zoned else ("no", "azure2023")
            what = f"{record.cells['TIMESTAMP']!r} has {has} offset from UTC, unlike this format"
            record.bad("TIMESTAMP", what, f"--format {reads} reads those; a file has one kind or the other")
        tokens_out = record.whole("GeneratedTokens")
        remarks = ("zero output tokens",) if tokens_out == 0 else ()
        yield Item(stamp.ns, record.line, kind, record.whole("ContextTokens"), tokens_out, 0, remarks=remarks)


def service_of(path: Path) -> str | None:
    """conv or code, where the file's name says so and says only one."""
    named = set(_SERVICE.findall(path.name.lower()))
    return str(named.pop()) if len(named) == 1 else None


def _class_by_name(path: Path) -> ModelClass:
    service = service_of(path)
    if service is None:
        what = "the name does not say which service this is: conv or code"
        hint = "name it so, or give --model-class (conv: text-large, code: text-small)"
        raise BadInput(what, where=str(path), hint=hint)
    return CLASSES[service]


def _source(path: Path, *, year: int) -> str:
    service = service_of(path)
    return f"azure-llm-{year}-{service}" if service else f"azure-llm-{year}"


def _zoned(first: Mapping[str, str]) -> bool:
    return _ZONED.fullmatch(first.get("TIMESTAMP", "")) is not None


HOME = "github.com/Azure/AzurePublicDataset"
FORMATS = (
    Format(
        "azure2023",
        "Azure LLM inference trace 2023",
        f"{HOME}, AzureLLMInferenceDataset2023.md",
        "csv",
        NEEDS,
        partial(read, zoned=False),
        partial(_source, year=2023),
        since_1970=True,
        tells=lambda first: not _zoned(first),
    ),
    Format(
        "azure2024",
        "Azure LLM inference trace 2024",
        f"{HOME}, AzureLLMInferenceDataset2024.md",
        "csv",
        NEEDS,
        partial(read, zoned=True),
        partial(_source, year=2024),
        since_1970=True,
        tells=_zoned,
    ),
)
