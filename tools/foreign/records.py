"""What one look at a foreign endpoint gives: counters, gauges, replicas that stand there, single prompts where a
system lists them. `node` is empty where the endpoint speaks of itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class What(StrEnum):
    """What a counter counts, since its process started. Sums are in seconds or tokens. latency: from the prompt's
    coming in to its end, queueing included, as the system itself takes it; service: the part without queueing."""

    ARRIVED = "arrived"
    FINISHED = "finished"
    FAILED = "failed"
    LATENCY_S = "latency_s"
    LATENCY_COUNT = "latency_count"
    LATENCY_BUCKET = "latency_bucket"
    SERVICE_S = "service_s"
    SERVICE_COUNT = "service_count"
    SERVICE_BUCKET = "service_bucket"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    LOAD_S = "load_s"
    LOAD_COUNT = "load_count"


class Key(NamedTuple):
    """Whose counter of what; le: upper bound of a bucket, s; 0 for what has none."""

    node: str
    model: str
    what: What
    le: float = 0.0


@dataclass(frozen=True, slots=True)
class Count:
    node: str
    model: str
    what: What
    value: float
    le: float = 0.0

    @property
    def key(self) -> Key:
        return Key(self.node, self.model, self.what, self.le)


@dataclass(frozen=True, slots=True)
class Busy:
    """Prompts of a model there right now: being served, and waiting."""

    node: str
    model: str
    running: float
    waiting: float = 0.0


@dataclass(frozen=True, slots=True)
class Resident:
    """A model that holds memory. memory_gib None: not said. state: ready | loading | draining. used: a mark that
    changes whenever a prompt of it ended (Ollama's expires_at), empty where there is none."""

    node: str
    model: str
    state: str = "ready"
    memory_gib: float | None = None
    used: str = ""


@dataclass(frozen=True, slots=True)
class Served:
    """One prompt that has ended. ended_s: s since the epoch, by the system's clock; took_s: None when not said."""

    id: str
    model: str
    ended_s: float
    took_s: float | None
    input_tokens: int | None = None
    output_tokens: int | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class NodeMemory:
    """What a node may give out to models, and what it has given out (None: not said), GiB."""

    node: str
    memory_gib: float
    used_gib: float | None = None


@dataclass(frozen=True, slots=True)
class TaskOf:
    """What a model is for, a Hugging Face task name."""

    model: str
    task: str


@dataclass(frozen=True, slots=True)
class Reading:
    """All that one look gave. models: of the catalogue, served or not. tasks: ids of prompts in process (llama.cpp's
    slots). whole: nothing on the page was unreadable, so a series that is gone means a restart."""

    counts: tuple[Count, ...] = ()
    busy: tuple[Busy, ...] = ()
    resident: tuple[Resident, ...] = ()
    served: tuple[Served, ...] = ()
    memory: tuple[NodeMemory, ...] = ()
    models: tuple[str, ...] = ()
    catalogue: tuple[TaskOf, ...] = ()
    tasks: tuple[str, ...] = ()
    whole: bool = True
