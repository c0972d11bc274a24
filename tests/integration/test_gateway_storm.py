"""Whatever nodes and clients do, every accepted prompt has exactly one row, and it says what the client saw."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from edgewise.domain.cluster import NodeSpec, ReplicaState
from edgewise.domain.model import ModelSpec, Task
from edgewise.domain.records import PromptStatus
from edgewise.domain.world import World
from serving.gateway.config import GatewayConfig, Limits, NodeAddress
from tests.support.gateway_node import GatewayNode, Room, running

PROMPTS = 200
FAULTS = ["ok"] * 8 + ["back", "drop", "half", "stream-die", "bad", "error"]
STREAM_FAULTS = ["stream"] * 8 + ["back", "drop", "stream-die", "stream-never"]


async def one_client(room: Room, rng: random.Random, prompt_id: str, seen: dict[str, str]) -> None:
    await asyncio.sleep(rng.random() * 2)
    stream = rng.random() < 0.4
    body = {"model": "gpt2", "prompt": "x" * rng.randrange(1, 60_000), "stream": stream}
    headers = {"x-request-id": prompt_id, "x-stream": str(int(stream))}
    patience_s = 0.01 + rng.random() * 0.2 if rng.random() < 0.1 else 30.0
    try:
        async with asyncio.timeout(patience_s):
            response = await room.session.post(room.url + "/v1/completions", json=body, headers=headers)
            text = await response.read()
    except TimeoutError:
        seen[prompt_id] = "left"
        return
    except aiohttp.ClientError as error:
        seen[prompt_id] = repr(error)
        return
    if response.status == 503:
        seen[prompt_id] = PromptStatus.SHED
    elif response.status != 200 or b'"node_lost"' in text:
        seen[prompt_id] = PromptStatus.FAILED
    else:
        seen[prompt_id] = PromptStatus.COMPLETED


async def trouble(nodes: list[GatewayNode], rng: random.Random) -> None:
    """Kills and revives nodes, drains and reloads replicas."""
    while True:
        await asyncio.sleep(0.25)
        node = rng.choice(nodes)
        if rng.random() < 0.5:
            await node.kill()
            await asyncio.sleep(0.15)
            await node.start()
        else:
            node.replicas["gpt2"] = rng.choice([ReplicaState.READY, ReplicaState.LOADING, ReplicaState.DRAINING])
            await asyncio.sleep(0.1)
            node.replicas["gpt2"] = ReplicaState.READY


@pytest.mark.parametrize("seed", [1, 2])
async def test_one_row_per_prompt_in_a_storm(tmp_path: Path, seed: int) -> None:
    rng, origin = random.Random(seed), time.monotonic()
    nodes = [GatewayNode(f"n{i}", origin, {"gpt2": ReplicaState.READY}, service_s=0.01) for i in range(3)]
    for node in nodes:
        node.behave = lambda r: rng.choice(STREAM_FAULTS if r.headers["x-stream"] == "1" else FAULTS)
        await node.start()
    world = World(
        tuple(NodeSpec(n.id, 4.0) for n in nodes),
        (ModelSpec("gpt2", Task.TEXT_GENERATION, 1.0, 0.01, deadline_s=20.0),),
    )
    addresses = tuple(NodeAddress(n.id, n.url) for n in nodes)
    limits = Limits(node_poll_s=0.05, node_dead_after_s=1.0, spool_mib=0.02)
    seen: dict[str, str] = {}
    async with running(GatewayConfig(world, str(tmp_path), origin, addresses, limits)) as room:
        await room.until_alive(*(n.id for n in nodes))
        stirring = asyncio.create_task(trouble(nodes, rng))
        await asyncio.gather(*(one_client(room, rng, f"q{i}", seen) for i in range(PROMPTS)))
        stirring.cancel()
        await asyncio.gather(stirring, return_exceptions=True)
        state = await room.state()
    for node in nodes:
        await node.kill()
    rows = room.rows()
    # A client that left before the gateway had read its prompt was never accepted: it has no row.
    wanted = {i for i, outcome in seen.items() if outcome != "left"}
    counts = Counter(row.id for row in rows)
    assert set(counts.values()) == {1}
    assert wanted <= set(counts) <= set(seen)
    for row in rows:
        told = seen[row.id]
        assert row.status == told or (told == "left" and row.status is not PromptStatus.SHED), (row, told)
        assert row.attempts <= 5
    assert Counter(seen.values())[PromptStatus.COMPLETED] > PROMPTS // 2
    assert state["in_flight"] == []
    assert state["waiting"] == {"gpt2": 0}
    assert state["models"]["gpt2"]["arrived"] == len(rows)
