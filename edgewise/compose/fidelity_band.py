"""The real half of one load band: prompts sent through the gateway, and all that is needed to send them again in the
twin."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import aiohttp
import numpy as np
import orjson
from prometheus_client.parser import text_string_to_metric_families

from edgewise.compose.fidelity_cluster import Cluster
from edgewise.domain.errors import RunFailed
from edgewise.domain.records import PromptRow, PromptStatus
from edgewise.domain.world import World
from edgewise.twin.demand import Floats
from evals.fidelity.cpu import others_cores, process_cpu_s, usage
from evals.fidelity.twin_side import Costs, SentPrompts
from evals.replayer import WorkloadRow, replay
from serving.gateway.bodies import cut, read_ask
from tools.rundir import read_prompts

LEAD_S = 0.3  # before the first prompt
GRACE_S = 90.0
NONE = (0.0, 0)


@dataclass(frozen=True, slots=True)
class BandSent:
    """latency_s [P] as the gateway saw it; service_s: mean service by model as the nodes counted it, node seconds;
    served_s: of all prompts together;
    cpu_s: of the node processes while window_s, from the first prompt on until the last was due."""

    load: float
    prompts: SentPrompts
    latency_s: Floats
    service_s: dict[str, float]
    served_s: float
    cpu_s: float
    window_s: float
    others_cores: float

    def services(self, costs: Costs) -> dict[str, tuple[float, float]]:
        """By model: (mean service as the nodes counted, as the profile expects it), node seconds."""
        found = {}
        for i, spec in enumerate(costs.models):
            if spec.id in self.service_s:
                mine = np.nonzero(self.prompts.model == i)[0]
                expected_s = [spec.expected_service_s(self.prompts.sizes[p]) for p in mine]
                found[spec.id] = (self.service_s[spec.id], float(np.mean(expected_s)) * costs.level[spec.id])
        return found


async def send_band(
    cluster: Cluster,
    believed: World,
    url: str,
    rows: Sequence[WorkloadRow],
    load: float,
    prefix: str,
    window_s: float,
) -> BandSent:
    """Send the rows and wait for all answers. `window_s`: in which they are due. Raises RunFailed when a prompt had
    no good answer: then the two sides did not serve the same."""
    rows = [replace(row, id=prefix + row.id) for row in rows]
    ours = cluster.all_pids()
    counted = await _served(cluster.urls)
    start_s = cluster.clock.now_s() + LEAD_S
    watch = asyncio.create_task(_watch(cluster, start_s, window_s, ours))
    ledger = await replay(rows, url, cluster.clock, start_s, grace_s=GRACE_S)
    cpu_s, others = await watch
    after = await _served(cluster.urls)
    if ledger.ok < len(rows):
        raise RunFailed(f"{len(rows) - ledger.ok} of {len(rows)} prompts were not answered well: {ledger.errors()}")
    by_id = {row.id: row for row in read_prompts(cluster.run)}
    sent = sorted(((row, by_id[row.id]) for row in rows), key=lambda pair: pair[1].arrived_s)
    new = {m: (after[m][0] - counted.get(m, NONE)[0], after[m][1] - counted.get(m, NONE)[1]) for m in after}
    means = {m: seconds / prompts for m, (seconds, prompts) in new.items() if prompts > 0}
    return BandSent(
        load=load,
        prompts=_sent_prompts(sent, believed, cluster.contexts),
        latency_s=np.array([_latency_s(row) for _, row in sent]),
        service_s=means,
        served_s=sum(seconds for seconds, _ in new.values()),
        cpu_s=cpu_s,
        window_s=window_s,
        others_cores=others,
    )


def _sent_prompts(
    sent: Sequence[tuple[WorkloadRow, PromptRow]], believed: World, contexts: Mapping[str, int]
) -> SentPrompts:
    """hint_s is what the gateway made of each body: it reads sizes its own way."""
    models = {m.id: i for i, m in enumerate(believed.models)}
    nodes = {n.id: i for i, n in enumerate(believed.nodes)}
    hints = []
    for row, _ in sent:
        size = read_ask(row.request.path, orjson.dumps(row.request.body)).size
        hints.append(believed.models[models[row.model]].expected_service_s(cut(size, contexts.get(row.model))))
    first_s = sent[0][1].arrived_s
    return SentPrompts(
        at_s=np.array([seen.arrived_s - first_s for _, seen in sent]),
        model=np.array([models[row.model] for row, _ in sent], np.int64),
        access=np.array([nodes[row.access_node] for row, _ in sent], np.int64),
        sizes=tuple(row.request.size for row, _ in sent),
        hint_s=np.array(hints),
    )


def _latency_s(row: PromptRow) -> float:
    if row.status is not PromptStatus.COMPLETED or row.finished_s is None:
        raise RunFailed(f"prompt {row.id} is {row.status}: {row.error}")
    return row.finished_s - row.arrived_s


async def _watch(cluster: Cluster, start_s: float, window_s: float, ours: Sequence[int]) -> tuple[float, float]:
    """(CPU seconds of the nodes, cores of others) in the window."""

    def nodes_s() -> float:
        return sum(process_cpu_s(pid) for pid in cluster.pids.values())

    await asyncio.sleep(max(0.0, start_s - cluster.clock.now_s()))
    cpu_s, seen = nodes_s(), usage(ours)
    await asyncio.sleep(max(0.0, start_s + window_s - cluster.clock.now_s()))
    return nodes_s() - cpu_s, others_cores(seen, usage(ours))


async def _served(urls: Mapping[str, str]) -> dict[str, tuple[float, int]]:
    """{model: (service seconds, prompts)} counted by all nodes since they started."""
    found: dict[str, tuple[float, int]] = {}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        for url in urls.values():
            async with http.get(f"{url}/metrics") as answer:
                text = await answer.text()
            for family in text_string_to_metric_families(text):
                if family.name != "edgewise_service_seconds":
                    continue
                for sample in family.samples:
                    model = sample.labels["model"]
                    seconds, prompts = found.get(model, (0.0, 0))
                    if sample.name.endswith("_sum"):
                        found[model] = (seconds + sample.value, prompts)
                    elif sample.name.endswith("_count"):
                        found[model] = (seconds, prompts + int(sample.value))
    return found
