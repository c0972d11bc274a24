"""The systems that are known: how each is told from the others, which of its paths are read, what can be known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tools.foreign import kserve, llama_cpp, llama_swap, ollama, ours, vllm
from tools.foreign.page import Answers
from tools.foreign.records import Reading

METRICS = "/metrics"


class Kind(StrEnum):
    EDGEWISE_GATEWAY = "edgewise-gateway"
    EDGEWISE_NODE = "edgewise-node"
    VLLM = "vllm"
    LLAMA_CPP = "llama.cpp"
    LLAMA_SWAP = "llama-swap"
    KSERVE = "kserve"
    OLLAMA = "ollama"


@dataclass(frozen=True, slots=True)
class System:
    """probe: JSON paths asked to find out what answers; poll: those asked each time after. front: it hands prompts
    on to nodes, and does not serve them itself. swaps: loads what is asked for and unloads what is not. batching: how
    many prompts at once are faster in all: k prompts at k**batching of the speed of one; 0: they share it."""

    kind: Kind
    is_it: Callable[[Answers], bool]
    read: Callable[[Answers], Reading]
    names: frozenset[str]
    probe: tuple[str, ...]
    poll: tuple[str, ...]
    known: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    front: bool = False
    swaps: bool = False
    batching: float = 0.0
    concurrency: int = 1


SYSTEMS: tuple[System, ...] = (
    System(
        Kind.EDGEWISE_GATEWAY, ours.is_gateway, ours.read_gateway, ours.NAMES, (ours.MODELS,), (ours.MODELS,),
        known=("arrivals by access node and model", "latency by model", "what is at which node"),
        unknown=("sizes", "where a prompt was served, memory, loads: give its nodes' URLs too"),
        front=True,
    ),
    System(
        Kind.EDGEWISE_NODE, ours.is_node, ours.read_node, ours.NAMES, (), (),
        known=("service time", "prompts served, waiting and running", "replicas", "memory", "load times"),
        unknown=("latency as seen by the caller: give the gateway's URL too", "sizes"),
    ),
    System(
        Kind.VLLM, vllm.is_it, vllm.read, vllm.NAMES, (), (),
        known=("prompts ended, running, waiting, and so arrivals", "latency and time in the engine", "token sums"),
        unknown=("memory of a model: give --models", "load time", "sizes prompt by prompt"),
        batching=0.7, concurrency=64,
    ),
    System(
        Kind.LLAMA_CPP, llama_cpp.is_it, llama_cpp.read, llama_cpp.NAMES,
        (llama_cpp.SLOTS, llama_cpp.MODELS), (llama_cpp.SLOTS, llama_cpp.MODELS),
        known=("token sums and seconds of computing (with --metrics)", "prompts running and deferred"),
        unknown=(
            "a count of requests: tasks that show in /slots between two looks are counted, shorter ones are missed",
            "latency but by Little's law from what runs and waits", "memory: give --models",
        ),
        batching=0.5, concurrency=4,
    ),
    System(
        Kind.LLAMA_SWAP, llama_swap.is_it, llama_swap.read, llama_swap.NAMES,
        (llama_swap.RUNNING, llama_swap.MODELS, llama_swap.ACTIVITY, llama_swap.OLD_ACTIVITY),
        (llama_swap.RUNNING, llama_swap.MODELS, llama_swap.ACTIVITY, llama_swap.OLD_ACTIVITY),
        known=("every request: when, how long, how many tokens", "models loaded and loading", "GPU memory"),
        unknown=("memory of a model: give --models", "requests that its log has dropped between two looks"),
        swaps=True, batching=0.5, concurrency=4,
    ),
    System(
        Kind.KSERVE, kserve.is_it, kserve.read, kserve.NAMES, (kserve.SERVER, kserve.MODELS), (kserve.MODELS,),
        known=("prompts ended", "latency (queue-proxy, Triton) and time in the model"),
        unknown=("memory and load time: give --models", "sizes", "what waits in a queue right now"),
    ),
    System(
        Kind.OLLAMA, ollama.is_it, ollama.read, frozenset(), (ollama.TAGS, ollama.PS), (ollama.TAGS, ollama.PS),
        known=("models it has, models loaded, their memory", "that a model was used between two looks"),
        unknown=(
            "how many requests came, how long they took, how large they were: it counts none; "
            "put a proxy that does before it (llama-swap, an OpenAI gateway) and give that URL",
        ),
        swaps=True, batching=0.5, concurrency=4,
    ),
)  # fmt: skip
BY_KIND = {s.kind: s for s in SYSTEMS}
ALL_NAMES = frozenset().union(*(s.names for s in SYSTEMS))
PROBES = tuple(dict.fromkeys(path for s in SYSTEMS for path in s.probe))
# The only paths that are ever asked: a GET can act, too (llama-swap unloads by one).
PATHS = frozenset({METRICS, *PROBES, *(path for s in SYSTEMS for path in s.poll)})


def system_of(answers: Answers) -> System | None:
    """The first that recognises itself; None: none of them."""
    return next((s for s in SYSTEMS if s.is_it(answers)), None)


def on_page(answers: Answers) -> System | None:
    """As `system_of`, by the metrics page alone (of Prometheus, which has no other paths of the target)."""
    return next((s for s in SYSTEMS if s.names and answers.page and s.is_it(answers)), None)
