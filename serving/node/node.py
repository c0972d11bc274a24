"""The node: replicas under one memory budget and one turnstile. `lifecycle` decides, this acts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from edgewise.domain.errors import BadInput, EdgewiseError, LoadFailed, UnknownModel
from edgewise.domain.model import ModelSpec, PromptSize
from edgewise.policy.fair import COMMON
from edgewise.policy.share import precompile
from serving.engines import engine_for
from serving.engines.base import Engine, Request
from serving.node import lifecycle
from serving.node.config import NodeConfig, Order
from serving.node.job import Job
from serving.node.lifecycle import Life
from serving.node.metrics import NodeMetrics
from serving.node.replica import Replica
from serving.node.turnstile import Turnstile
from serving.node.view import ReplicaView, view

log = logging.getLogger(__name__)


class Node:
    """All methods belong to the event loop's thread; models load and run in threads of their own."""

    def __init__(
        self,
        config: NodeConfig,
        make_engine: Callable[[ModelSpec], Engine] = engine_for,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.order = config.order
        self.specs = {m.id: m for m in config.models}
        self._clock = clock
        self.metrics = NodeMetrics(config.node, self.states, self.memory_used_gib)
        self._make_engine = make_engine
        self._lives = {m.id: Life(m.id, m.memory_gib, m.load_s) for m in config.models}
        self._replicas: dict[str, Replica] = {}
        self._changes: dict[str, asyncio.Task[None]] = {}  # the load or unload under way, by model
        precompile()
        self._turnstile = Turnstile(list(self.specs), clock)
        self._turnstile.limit_cpu(config.cpu_limit)
        workers = sum(m.max_concurrency for m in config.models)
        self._threads = ThreadPoolExecutor(max(1, workers), "prompt")
        self._loaders = ThreadPoolExecutor(max(1, len(config.models)), "load")

    def now_s(self) -> float:
        """Seconds on the run clock."""
        return self._clock() - self.config.origin

    def life(self, model: str) -> Life:
        if model not in self._lives:
            known = ", ".join(self._lives)
            raise UnknownModel(f"model {model!r} is not in the catalogue", hint=f"known models: {known}")
        return self._lives[model]

    def load(self, model: str) -> bool:
        """Begin a load; False when it is loading or ready already. Raises UnknownModel, AdmissionRefused."""
        life = self.life(model)
        loading = lifecycle.load(life, self._lives.values(), self.config.node.memory_gib, self.now_s())
        if loading is life:
            return False
        self._lives[model] = loading
        self._changes[model] = asyncio.create_task(self._bring_up(model))
        return True

    def drain(self, model: str) -> int:
        """Take no new prompt, hand queued ones back. Returns how many. Raises UnknownModel, ReplicaBusy."""
        self._lives[model] = lifecycle.drain(self.life(model), self.now_s())
        return self._replicas[model].hand_back()

    async def unload(self, model: str) -> None:
        """Forget a drained, idle or failed replica; its memory is free on return. Raises UnknownModel,
        ReplicaBusy."""
        replica = self._replicas.get(model)
        if not lifecycle.may_unload(self.life(model), replica.in_flight if replica else 0):
            return
        if model not in self._changes:
            self._changes[model] = asyncio.create_task(self._take_down(model))
        await asyncio.shield(self._changes[model])

    def share(self, shares: Mapping[str, float]) -> None:
        """Relative on-node shares of the models named. Raises UnknownModel, BadInput for one that is not > 0."""
        for model, share in shares.items():
            self.life(model)
            if not 0.0 < share < float("inf"):
                raise BadInput(f"the share of {model} is {share}; it must be > 0", where="shares")
        self._turnstile.set_shares(shares)

    def limit_cpu(self, cores: float) -> None:
        """The part of one core that prompts may use from now on; 0: no limit. Raises BadInput."""
        if not 0.0 <= cores < float("inf"):
            raise BadInput(f"a CPU limit of {cores} cores cannot be", where="limits", hint="0 means no limit")
        self._turnstile.limit_cpu(cores)

    def set_order(self, order: Order) -> None:
        """How queues are ordered from now on. Raises BadInput."""
        for name, value in (("yielding", order.yielding), *order.weights.items()):
            if not (0.0 <= value < float("inf")) or (value == 0.0 and name != "yielding"):
                raise BadInput(f"{name} is {value}; yielding must be ≥ 0, and weights > 0", where="order")
        self.order = order
        for replica in self._replicas.values():
            replica.set_order(order)

    def submit(
        self,
        model: str,
        request: Request,
        hint_s: float | None,
        stream: bool = False,
        tenant: str = COMMON,
        entered_s: float | None = None,
    ) -> Job:
        """Queue a prompt. entered_s: when it came to its access node. Raises UnknownModel, NotReady, Unavailable
        (queue full)."""
        lifecycle.may_serve(self.life(model), self.now_s())
        expected_s = self.specs[model].expected_service_s(request.size())
        job = Job(request, expected_s if hint_s is None else hint_s, self.now_s(), stream, tenant, entered_s)
        self._replicas[model].submit(job, self.config.max_queued)
        return job

    def cancel(self, model: str, job: Job) -> None:
        if (replica := self._replicas.get(model)) is not None:
            replica.cancel(job)

    def states(self) -> list[ReplicaView]:
        """Every model of the catalogue, absent ones included."""
        shares, now, speed = self._turnstile.shares(), self.now_s(), self.config.node.speed
        return [
            view(life, self._replicas.get(model), shares[model], now, speed) for model, life in self._lives.items()
        ]

    def memory_used_gib(self) -> float:
        return lifecycle.memory_used_gib(self._lives.values())

    async def aclose(self) -> None:
        """Cancel all work. Threads end at their next step; they are not waited for."""
        for replica in self._replicas.values():
            replica.cancel_all()
        for change in self._changes.values():
            change.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._loaders.shutdown(wait=False, cancel_futures=True)

    async def _bring_up(self, model: str) -> None:
        spec, began = self.specs[model], self.now_s()
        engine = self._make_engine(spec)
        try:
            await asyncio.get_running_loop().run_in_executor(self._loaders, self._load_engine, model, engine)
        except Exception as error:  # a broken engine leaves a failed replica, not a broken node
            reason = error.line() if isinstance(error, EdgewiseError) else f"{type(error).__name__}: {error}"
            log.warning("loading %s failed: %s", model, reason)
            self._lives[model] = lifecycle.failed(self._lives[model], reason, self.now_s())
        else:
            self._replicas[model] = Replica(
                spec, engine, self._turnstile, self._threads, self.now_s, self._served, self.order
            )
            self._lives[model] = lifecycle.loaded(self._lives[model], self.now_s())
            self.metrics.loaded(model, self.now_s() - began)
        finally:
            self._changes.pop(model, None)

    def _served(self, model: str, service_s: float, size: PromptSize) -> None:
        expected_s = self.specs[model].expected_service_s(size) / self.config.node.speed
        self.metrics.served(model, service_s, expected_s)

    def _load_engine(self, model: str, engine: Engine) -> None:
        source = self.config.sources.get(model)
        if source is None:
            raise LoadFailed(f"no source of weights was given for {model}", hint="run `edgewise models tiny`")
        try:
            engine.load(source, self.config.device, self.config.dtype)
            engine.warm_up()
        except BaseException:
            engine.unload()
            raise

    async def _take_down(self, model: str) -> None:
        try:
            if (replica := self._replicas.pop(model, None)) is not None:
                await asyncio.get_running_loop().run_in_executor(self._loaders, replica.engine.unload)
            self._lives[model] = lifecycle.unloaded(self._lives[model], self.now_s())
        finally:
            self._changes.pop(model, None)
