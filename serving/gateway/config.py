"""What the gateway process is started with; frozen and readable from JSON (domain.codec)."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgewise.domain.world import World
from edgewise.settings import Settings

_LOST = 10  # node_lost_after_s over node_dead_after_s


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """A serving node and the base URL of its server, without a slash at the end."""

    id: str
    url: str


@dataclass(frozen=True, slots=True)
class Limits:
    """The gateway's part of the settings; units and reasons there.

    node_lost_after_s: silence after which prompts in flight at a node are sent elsewhere; much longer than the one
    after which new prompts avoid it: a node that is only busy would otherwise see its work done twice.
    yielding, sticky_part, tenant_weights: as the settings of these names.
    shedding: whether prompts that would miss their deadline are refused (503); without it they are held and sent
    however late.
    """

    slot_s: float = 30.0
    node_poll_s: float = 0.25
    node_dead_after_s: float = 2.0
    node_lost_after_s: float = 20.0
    max_body_mib: float = 32.0
    spool_mib: float = 1.0
    max_attempts: int = 5
    shedding: bool = True
    yielding: float = 0.0
    sticky_part: float = 0.0
    tenant_weights: dict[str, float] = field(default_factory=dict)


def limits_of(settings: Settings, shedding: bool = True) -> Limits:
    return Limits(
        slot_s=settings.slot_s,
        node_poll_s=settings.node_poll_s,
        node_dead_after_s=settings.node_dead_after_s,
        node_lost_after_s=_LOST * settings.node_dead_after_s,
        max_body_mib=settings.max_body_mib,
        spool_mib=settings.spool_mib,
        max_attempts=settings.max_attempts,
        shedding=shedding,
        yielding=settings.yielding,
        sticky_part=settings.sticky_part,
        tenant_weights=settings.tenant_weights,
    )


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """run_dir: where events.jsonl is appended to. origin: the `time.monotonic()` of the run's start, machine-wide.
    port 0: any free one, told through `on_ready`. context_tokens: what a model takes in and out together; a prompt
    that asks for more is cut by its node, and expected to take no longer than that."""

    world: World
    run_dir: str
    origin: float
    nodes: tuple[NodeAddress, ...] = ()
    limits: Limits = field(default_factory=Limits)
    context_tokens: dict[str, int] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = 0
