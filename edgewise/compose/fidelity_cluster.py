"""A small real cluster for measuring: node processes with models that stay where they are, and a gateway. No
controller, no store: nothing changes while prompts run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import aiohttp
import psutil

from edgewise.compose.awake import Awake
from edgewise.compose.children import Child
from edgewise.compose.options import HOST
from edgewise.compose.supervisor import NodeSupervisor
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.codec import to_json
from edgewise.domain.errors import ClusterUnavailable, RunFailed, SetupError
from edgewise.domain.model import ModelSpec
from edgewise.domain.world import World
from edgewise.settings import load_settings
from evals.fidelity.cpu import process_cpu_s
from evals.fidelity.quota import Quotas, find_hierarchy
from evals.fidelity.report import Held
from serving.checkpoints import Source, context_tokens
from serving.fork_client import NodeExited
from serving.gateway.config import GatewayConfig, limits_of
from serving.gateway.config import NodeAddress as GatewayNode
from serving.node.config import NodeConfig, Order
from tools.clock import RunClock
from tools.local.client import NodeClient
from tools.rundir import LOGS

READY_S = 120.0
POLL_S = 0.05
CALL_S = 10.0
_STOP_S = 4.0
TURNSTILE = "turnstile"
# A cgroup's quota alone is no node of a constant speed: what an idle one has not used of a period is a gift to the
# next prompt (15 % of one that takes 20 ms, with periods of 10 ms), and with periods of 2 ms a busy machine loses a
# fourth. So the node server sets the pace, step by step, and the cgroup bounds the process.
HEADROOM = 1.25


class Cluster:
    """`start`, then `serve` for the gateway, always `stop`. urls, pids: by node id."""

    def __init__(self, run: Path, world: World, sources: Mapping[str, Source], say: Callable[[str], None]) -> None:
        self.run, self.world = run, world
        self.clock = RunClock()
        self._sources, self._say = dict(sources), say
        self._nodes = NodeSupervisor(run / LOGS / "nodes.log", self._node_exited, self._lost)
        self._gateway = Child("gateway", run / LOGS)
        self._quotas: Quotas | None = None
        self._awake = Awake()
        self.failure = ""

    @property
    def urls(self) -> dict[str, str]:
        return self._nodes.urls

    @property
    def pids(self) -> dict[str, int]:
        return self._nodes.pids

    @property
    def contexts(self) -> dict[str, int]:
        """Tokens that each model takes, where it says so."""
        found = {m.id: context_tokens(self._sources[m.id], m.task) for m in self.world.models}
        return {model: tokens for model, tokens in found.items() if tokens is not None}

    def all_pids(self) -> list[int]:
        """Of all processes below this one."""
        return [process.pid for process in psutil.Process().children(recursive=True)]

    async def start(self, *, gateway: bool = True) -> None:
        """Node processes up, nothing loaded, and the machine's cores kept awake."""
        await self._awake.start()
        if gateway:
            await self._gateway.start()
        await self._nodes.start()
        await self._nodes.spawn_all([self._config(i) for i in range(len(self.world.nodes))])

    async def hold(self, cores: float, by: str = "") -> Held:
        """Hold the prompts of every node to `cores`: the node server rests between two steps, and where the machine
        allows it (unless by=TURNSTILE) a cgroup holds the whole process, its HTTP too, to HEADROOM times that."""
        await self._nodes.limit_cpu(dict.fromkeys(self.urls, cores))
        if by == TURNSTILE:
            return Held(TURNSTILE, cores, "asked for")
        try:
            self._quotas = Quotas(find_hierarchy())
            for node, pid in self.pids.items():
                self._quotas.hold(node, pid, HEADROOM * cores)
        except SetupError as error:
            return Held(TURNSTILE, cores, error.line())
        return Held(f"{TURNSTILE} within {self._quotas.hierarchy.name}", cores)

    async def place(self, placement: Mapping[str, Sequence[str]]) -> None:
        """Load models ({node: models}) and wait until all are ready. Raises RunFailed, and what the node says."""
        async with aiohttp.ClientSession() as http:
            for node, models in placement.items():
                for model in models:
                    await NodeClient(http, node, self.urls[node], CALL_S).load(model)
            until = time.monotonic() + READY_S
            for node, models in placement.items():
                for model in models:
                    while not await _ready(NodeClient(http, node, self.urls[node], CALL_S), model):
                        if time.monotonic() > until or self.failure:
                            raise RunFailed(self.failure or f"{model} was not ready in time", where=node)
                        await asyncio.sleep(POLL_S)

    async def share(self, shares: Mapping[str, Mapping[str, float]]) -> None:
        """Set on-node shares, {node: {model: share}}."""
        async with aiohttp.ClientSession() as http:
            for node, wanted in shares.items():
                await NodeClient(http, node, self.urls[node], CALL_S).share(wanted)

    async def serve(self, models: tuple[ModelSpec, ...]) -> str:
        """Start the gateway, which believes the service profiles of `models`; its URL. It sheds nothing."""
        config = GatewayConfig(
            world=World(self.world.nodes, models, self.world.network, self.world.host_cores),
            run_dir=str(self.run),
            origin=self.clock.origin,
            nodes=tuple(GatewayNode(node, url) for node, url in self.urls.items()),
            limits=limits_of(load_settings(), shedding=False),
            context_tokens=self.contexts,
            host=HOST,
        )
        ready = await self._gateway.configure(to_json(config))
        return f"http://{HOST}:{ready['port']}"

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds that each node process has used. Raises RunFailed when one is gone."""
        return {node: process_cpu_s(pid) for node, pid in self.pids.items()}

    async def stop(self) -> None:
        """Everything that was started, in order. Never raises."""
        await self._awake.stop()
        await self._gateway.stop(_STOP_S)
        await asyncio.gather(self._nodes.stop(_STOP_S), return_exceptions=True)
        for _ in range(20):
            if self._quotas is None or not self._quotas.close():
                return
            await asyncio.sleep(POLL_S)

    def _config(self, index: int) -> NodeConfig:
        first_come = Order(yielding=0.0)  # as in the scenario that the twin runs
        return NodeConfig(
            self.world.nodes[index], self.world.models, self._sources, self.clock.origin, host=HOST, order=first_come
        )

    async def _node_exited(self, event: NodeExited) -> None:
        how = f"signal {event.signal}" if event.signal else f"code {event.code}"
        self.failure = f"{event.node}: its process ended ({how})"
        self._say(self.failure)

    def _lost(self) -> None:
        self.failure = "the fork server ended, and every node with it"


async def _ready(node: NodeClient, model: str) -> bool:
    state = await node.state()
    mine = next((r for r in state.replicas if r.model == model), None)
    if mine is not None and mine.state is ReplicaState.FAILED:
        raise ClusterUnavailable(f"{model}: {mine.error}", where=state.node)
    return mine is not None and mine.state is ReplicaState.READY
