"""ports.Cluster on Kubernetes: one Deployment per (node, model). The API's objects are the only memory there is."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from kubernetes.aio.client.exceptions import ApiException

from edgewise.control.ports import Clock
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.errors import BadInput, ClusterUnavailable, ReplicaBusy, UnknownModel
from edgewise.domain.model import ModelSpec
from edgewise.domain.observation import ClusterFacts, NodeFact, ReplicaFact
from tools.kubernetes import facts
from tools.kubernetes.api import Item, KubeApi, door
from tools.kubernetes.manifest import deployment
from tools.kubernetes.names import ATTEMPT, DRAINING, FAILED, NODE, SELECT_OURS, SHARE, annotation, label
from tools.kubernetes.replica import PodAddress, ReplicaDoor
from tools.kubernetes.settings import KubernetesSettings
from tools.kubernetes.survey import Key, Survey, survey

T = TypeVar("T")


class KubernetesCluster:
    """Implements ports.Cluster. Each command looks, decides, and changes one object under the version it looked
    at; if that was changed in between it looks again. A second controller, or this one restarted, goes on from
    what the API holds: which replicas were asked for, which are draining and since when, which were given up."""

    def __init__(
        self,
        api: KubeApi,
        replicas: ReplicaDoor,
        models: Sequence[ModelSpec],
        clock: Clock,
        settings: KubernetesSettings,
    ) -> None:
        self._api, self._replicas, self._clock, self._settings = api, replicas, clock, settings
        self._models = {m.id: m for m in models}
        self._since: dict[Key, tuple[ReplicaState, float]] = {}
        # Loads on one node are admitted one after the other: both would see the same free memory.
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @classmethod
    async def connect(
        cls, models: Sequence[ModelSpec], clock: Clock, settings: KubernetesSettings, kubeconfig: Path | None = None
    ) -> KubernetesCluster:
        """A cluster from a kubeconfig (default $KUBECONFIG, else the pod's service account). Raises SetupError."""
        api = await KubeApi.connect(kubeconfig, settings.request_timeout_s)
        timeout_s = settings.request_timeout_s
        replicas = ReplicaDoor(api, settings.namespace, timeout_s, settings.via_proxy)
        return cls(api, replicas, models, clock, settings)

    # --- the port -------------------------------------------------------------------------------------------

    async def observe(self) -> ClusterFacts:
        seen = await self._survey()
        now_s = self._clock.now_s()
        replicas = seen.replicas()
        self._since = {key: value for key, value in self._since.items() if key in replicas}
        return ClusterFacts(
            at_s=now_s,
            nodes=tuple(self._node_fact(seen, node) for node in sorted(seen.nodes)),
            replicas=tuple(self._replica_fact(seen, key, found, now_s) for key, found in replicas.items()),
        )

    async def load(self, node: str, model: str) -> None:
        spec = self._model(model)
        async with self._locks[node]:
            await self._decided(lambda: self._load_once(node, spec))

    async def drain(self, node: str, model: str) -> None:
        self._model(model)
        # First on the object, so that any controller knows; then to the replica, which hands its queue back.
        pod = await self._decided(lambda: self._mark_draining(node, model))
        if pod is not None:
            await self._replicas.drain(pod, model)

    async def unload(self, node: str, model: str) -> None:
        self._model(model)
        await self._decided(lambda: self._unload_once(node, model))

    async def share(self, node: str, shares: Mapping[str, float]) -> None:
        for model, value in shares.items():
            self._model(model)
            if not value > 0:
                raise BadInput(f"the share of {model} must be positive, not {value}", where=node)
        seen = await self._survey(node)
        seen.node(node)
        present = {m: v for m, v in shares.items() if (node, m) in seen.deployments}
        await asyncio.gather(*(self._decided(self._share_once(node, m, v)) for m, v in present.items()))

    async def aclose(self) -> None:
        await self._replicas.aclose()
        await self._api.aclose()

    async def replica_urls(self) -> dict[str, dict[str, str]]:
        """Node → model → base URL of the replicas that take prompts now."""
        urls: dict[str, dict[str, str]] = {}
        for (node, model), found in (await self._survey()).replicas().items():
            if found.state is ReplicaState.READY and found.pod is not None:
                urls.setdefault(node, {})[model] = found.pod.url
        return urls

    async def work(self, node: str, model: str) -> tuple[int, int]:
        """(queued, in flight) at a replica, asked of the replica itself; (0, 0) when none runs."""
        pod = (await self._survey(node)).seen((node, model)).pod
        if pod is None:
            return 0, 0
        work = await self._replicas.work(pod, model)
        return work.queued, work.in_flight

    # --- one decision each ----------------------------------------------------------------------------------

    async def _load_once(self, node: str, spec: ModelSpec) -> None:
        seen = await self._survey(node)
        found, key = seen.seen((node, spec.id)), (node, spec.id)
        if down := facts.node_down(seen.node(node)):
            raise ClusterUnavailable(down, where=node)
        if found.state in (ReplicaState.LOADING, ReplicaState.READY):
            return
        old = seen.deployments.get(key)
        if found.state is ReplicaState.DRAINING or (old and old["metadata"].get("deletionTimestamp")):
            raise ReplicaBusy(f"{spec.id} is on its way out", where=node, hint="load it again when it is absent")
        seen.admit(node, spec)
        for failed in seen.failed_reserves(node, but=spec.id):
            await self._give_up(seen, failed)
        if old is None:
            await self._api.create(self._path(), deployment(node, spec, 1, seen.at, self._settings))
            return
        attempt = int(label(old["spec"]["template"], ATTEMPT) or 0) + 1
        body = deployment(node, spec, attempt, seen.at, self._settings, annotation(old, SHARE))
        body["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        await self._api.replace(self._path(old), body)

    async def _give_up(self, seen: Survey, key: Key) -> None:
        """A failed replica holds no memory for us; its place is freed, lest it comes back when another has it."""
        reason = seen.seen(key).error or "failed"
        await self._patch(seen.deployments[key], {FAILED: reason}, {"replicas": 0})

    async def _mark_draining(self, node: str, model: str) -> PodAddress | None:
        seen = await self._survey(node)
        seen.node(node)
        found = seen.seen((node, model))
        if found.state is ReplicaState.READY:
            await self._patch(seen.deployments[(node, model)], {DRAINING: seen.at.isoformat()})
        elif found.state is not ReplicaState.DRAINING:
            raise ReplicaBusy(f"{model} is {found.state}, only a ready replica is drained", where=node)
        return found.pod

    async def _unload_once(self, node: str, model: str) -> None:
        seen = await self._survey(node)
        seen.node(node)
        found, item = seen.seen((node, model)), seen.deployments.get((node, model))
        if item is None or item["metadata"].get("deletionTimestamp"):
            return
        if found.state is ReplicaState.FAILED:
            if not annotation(item, FAILED):
                item = await self._patch(item, {FAILED: found.error})
        elif found.state is not ReplicaState.DRAINING:
            raise ReplicaBusy(f"{model} is {found.state}, it was not drained", where=node)
        elif found.pod is not None:
            await self._check_idle(found.pod, node, model)
        meta = item["metadata"]
        options = {
            "propagationPolicy": "Foreground",
            "preconditions": {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]},
        }
        await self._api.delete(self._path(item), options)

    async def _check_idle(self, pod: PodAddress, node: str, model: str) -> None:
        """Raises ReplicaBusy unless the replica itself says it is drained and idle. One that does not know yet
        that it shall drain (its controller died in between, or its container started anew) is told."""
        work = await self._replicas.work(pod, model)
        if work.state == "ready":
            await self._replicas.drain(pod, model)
            work = await self._replicas.work(pod, model)
        if not work.idle:
            busy = f"{model} has {work.in_flight} prompts in flight and {work.queued} queued"
            raise ReplicaBusy(busy, where=node, hint="they finish by themselves; try again")

    def _share_once(self, node: str, model: str, value: float) -> Callable[[], Awaitable[None]]:
        async def act() -> None:
            seen = await self._survey(node)
            item = seen.deployments.get((node, model))
            if item is None or item["metadata"].get("deletionTimestamp"):
                return
            if annotation(item, SHARE) != repr(value):
                await self._patch(item, {SHARE: repr(value)})
            found = seen.seen((node, model))
            if found.pod is not None and found.state in (ReplicaState.READY, ReplicaState.DRAINING):
                await self._replicas.share(found.pod, {model: value})

        return act

    # --- the API --------------------------------------------------------------------------------------------

    async def _decided(self, step: Callable[[], Awaitable[T]]) -> T:
        """Runs a look-decide-change step; looks again while someone else is faster."""
        for attempt in range(self._settings.conflict_retries):
            try:
                return await step()
            except ApiException:  # only 404 and 409 come through: the object is gone, there already, or changed
                await self._clock.sleep(0.02 * 2**attempt)
        with door(self._path()):
            return await step()

    async def _survey(self, node: str | None = None) -> Survey:
        """All of ours, or what concerns one node."""
        only = f",{NODE}={node}" if node is not None else ""
        namespace = f"/api/v1/namespaces/{self._settings.namespace}"
        # Pods before Deployments, for a Deployment is there before its pods and goes after them: in the other order
        # a replica made in between would look like a leftover.
        pods = await self._api.list_all(f"{namespace}/pods", SELECT_OURS + only)
        nodes, deployments = await asyncio.gather(
            self._api.list_all("/api/v1/nodes", NODE), self._api.list_all(self._path(), SELECT_OURS + only)
        )
        return survey(deployments.at, nodes.items, deployments.items, pods.items, self._models, self._settings)

    async def _patch(self, item: Item, annotations: dict[str, str], spec: Item | None = None) -> Item:
        version = item["metadata"]["resourceVersion"]
        body: Item = {"metadata": {"resourceVersion": version, "annotations": annotations}}
        if spec is not None:
            body["spec"] = spec
        return await self._api.patch(self._path(item), body)

    def _path(self, item: Item | None = None) -> str:
        base = f"/apis/apps/v1/namespaces/{self._settings.namespace}/deployments"
        return f"{base}/{item['metadata']['name']}" if item is not None else base

    # --- facts ----------------------------------------------------------------------------------------------

    def _model(self, model: str) -> ModelSpec:
        if model not in self._models:
            known = ", ".join(self._models)
            raise UnknownModel(f"model {model!r} is not in the catalogue", hint=f"known models: {known}")
        return self._models[model]

    def _node_fact(self, seen: Survey, node: str) -> NodeFact:
        alive = not facts.node_down(seen.nodes[node])
        return NodeFact(node, alive, seen.budget_gib(node), seen.used_gib(node))

    def _replica_fact(self, seen: Survey, key: Key, found: facts.Seen, now_s: float) -> ReplicaFact:
        since_s = self._since_s(key, found.state, now_s - (seen.at - found.since).total_seconds(), now_s)
        load_s = self._models[key[1]].load_s if key[1] in self._models else 0.0
        ready_in_s = max(0.0, since_s + load_s - now_s) if found.state is ReplicaState.LOADING else 0.0
        url = found.pod.url if found.pod is not None else ""
        return ReplicaFact(*key, found.state, since_s, ready_in_s, found.error, url=url)

    def _since_s(self, key: Key, state: ReplicaState, told_s: float, now_s: float) -> float:
        """When the state began, on the run clock. The API's stamps are whole seconds of another clock: they are
        read once per state, so that the figure does not wander from look to look."""
        known = self._since.get(key)
        if known is None or known[0] is not state:
            known = (state, min(told_s, now_s))
            self._since[key] = known
        return known[1]
