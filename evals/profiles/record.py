"""The profile file: what `edgewise models profile` writes (docs/reference/fidelity.md, "The profile file")."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import psutil

from edgewise.domain.codec import from_json
from edgewise.domain.errors import BadInput
from edgewise.domain.model import ModelSpec, ServiceProfile, Task
from evals.scenario import LoadTime, ModelEntry, SizedService

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Machine:
    """What was measured on. cores: that this process may use; packages: versions of what computes."""

    cpu: str
    cores: int
    memory_gib: float
    system: str
    python: str
    packages: dict[str, str]


@dataclass(frozen=True, slots=True)
class Together:
    """`prompts` at once. throughput: prompts per second relative to one at a time."""

    prompts: int
    throughput: float


@dataclass(frozen=True, slots=True)
class Memory:
    """MiB of the node process (PSS: shared pages in parts; RSS: in full) before the load, after it, and at most
    while prompts were answered."""

    before_pss: float
    loaded_pss: float
    peak_pss: float
    before_rss: float
    loaded_rss: float
    peak_rss: float


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """One model; `load_s`, `service_s` and `batch_curve` are in the scenario's words and can be copied into one.

    loads, prompts: how many were measured. first_s: what the first prompt after a load took beyond its usual time.
    service_s: by size, seconds on one core of this machine, alone; its cv is the spread that size does not explain.
    mean_service_s: over the prompts measured. worst_fit: largest relative error of service_s for one size. http_s:
    what an answer took beyond its service, over loopback. together: throughput as measured; batch_curve the same for
    1, 2, 3 … prompts, linear between.
    """

    id: str
    task: Task
    memory_gib: float
    load_s: LoadTime
    loads: int
    first_s: float
    service_s: SizedService
    prompts: int
    mean_service_s: float
    worst_fit: float
    http_s: float
    together: tuple[Together, ...]
    batch_curve: tuple[float, ...]
    memory_mib: Memory


@dataclass(frozen=True, slots=True)
class Profile:
    """A whole file. notes: what a reader must know, such as work of others on the machine meanwhile."""

    format: int
    machine: Machine
    models: tuple[ModelProfile, ...]
    notes: tuple[str, ...] = ()

    def model(self, model_id: str) -> ModelProfile:
        found = next((m for m in self.models if m.id == model_id), None)
        if found is None:
            raise BadInput(f"the profile says nothing of {model_id!r}")
        return found


def read_profile(path: Path) -> Profile:
    """Raises BadInput naming the file and its first bad field."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read the profile: {error.strerror}", where=str(path)) from error
    found = from_json(Profile, text, where=str(path))
    if found.format != FORMAT:
        raise BadInput(f"format {found.format} is not known, {FORMAT} is", where=str(path))
    return found


def entry_of(profile: ModelProfile, spec: ModelSpec) -> ModelEntry:
    """The model as a scenario has it: what was measured, and the rest of its catalogue entry."""
    return ModelEntry(
        id=spec.id,
        task=spec.task,
        memory_gib=spec.memory_gib,
        load_s=profile.load_s,
        service_s=profile.service_s,
        max_concurrency=spec.max_concurrency,
        request_kib=spec.request_kib,
        response_kib=spec.response_kib,
        deadline_s=spec.deadline_s,
        batch_curve=profile.batch_curve[: spec.max_concurrency] if spec.max_concurrency > 1 else (),
    )


def batch_curve(measured: Sequence[Together]) -> tuple[float, ...]:
    """Throughput with 1, 2, 3, … prompts at once, linear between what was measured."""
    known = sorted(measured, key=lambda t: t.prompts)
    counts = range(1, known[-1].prompts + 1)
    return tuple(float(v) for v in np.interp(counts, [t.prompts for t in known], [t.throughput for t in known]))


def sized(profile: ServiceProfile) -> SizedService:
    """A service profile in the scenario's words."""
    p = profile
    return SizedService(p.base_s, p.per_input_token_s, p.per_output_token_s, p.per_image_s, p.per_step_s, p.cv)


def this_machine() -> Machine:
    return Machine(
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 2),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: _version(name) for name in ("torch", "transformers", "diffusers", "numpy")},
    )


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
