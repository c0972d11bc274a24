"""What a node process is told when it starts; JSON between processes."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgewise.domain.cluster import NodeSpec
from edgewise.domain.model import ModelSpec
from serving.checkpoints import Source


@dataclass(frozen=True, slots=True)
class Order:
    """How each model's queue is ordered. yielding: seconds that a prompt lets later ones pass, per second of its own
    expected service; 0: first come, first served. weights: of tenants, relative, > 0; those not named have 1."""

    yielding: float = 20.0
    weights: dict[str, float] = field(default_factory=dict)


DEFAULT_ORDER = Order()


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """sources: where the weights of each model are, by model id. port 0: any free one. origin: the run clock's
    zero, a `time.monotonic()` value. device: 'cpu' | 'cuda'. dtype: 'float32' | 'float16' | 'bfloat16'.
    max_body_mib: largest request body. max_queued: prompts that may wait for one model. cpu_limit: the part of one
    core that prompts may use (0: no limit), so that nodes which share a machine are as slow as they
    say. order: of the models' queues."""

    node: NodeSpec
    models: tuple[ModelSpec, ...]
    sources: dict[str, Source]
    origin: float
    host: str = "127.0.0.1"
    port: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    max_body_mib: float = 32.0
    max_queued: int = 4096
    cpu_limit: float = 0.0
    order: Order = DEFAULT_ORDER
