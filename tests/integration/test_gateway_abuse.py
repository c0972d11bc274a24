"""What a hostile or careless client may send: the gateway answers, refuses or closes, and goes on."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from edgewise.domain.cluster import NodeSpec, ReplicaState
from edgewise.domain.model import ModelSpec, ServiceProfile, Task
from edgewise.domain.world import World
from serving.gateway.config import GatewayConfig, Limits, NodeAddress
from tests.support.gateway_node import GatewayNode, Room, running

PER_TOKEN = ServiceProfile(0.001, 1e-5, 0.002)
WORLD = World(
    nodes=(NodeSpec("n1", 4.0),),
    models=(
        ModelSpec("gpt2", Task.TEXT_GENERATION, 1.0, 0.05, service=PER_TOKEN, deadline_s=20.0),
        ModelSpec("unbounded", Task.TEXT_GENERATION, 1.0, 0.05, service=PER_TOKEN, deadline_s=20.0),
    ),
)
BODY = json.dumps({"model": "gpt2", "prompt": "hello", "max_tokens": 2}).encode()


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    states = {"gpt2": ReplicaState.READY, "unbounded": ReplicaState.READY}
    node = GatewayNode("n1", time.monotonic(), states)
    await node.start()
    config = GatewayConfig(
        world=WORLD,
        run_dir=str(tmp_path),
        origin=node.origin,
        nodes=(NodeAddress("n1", node.url),),
        limits=Limits(node_poll_s=0.05, max_body_mib=0.5, spool_mib=0.01),
        context_tokens={"gpt2": 1024},
    )
    async with running(config) as made:
        await made.until_alive("n1")
        yield made
    await node.kill()


def request(*headers: bytes, body: bytes = BODY, version: bytes = b"1.1", length: bytes | None = None) -> bytes:
    size = str(len(body)).encode() if length is None else length
    lines = [b"POST /v1/completions HTTP/" + version, b"Host: x", b"Content-Length: " + size, *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def raw(room: Room, data: bytes, answers: int = 1) -> bytes:
    """What comes back on one connection, until so many answers are there, it closes, or 10 s have passed."""
    host, _, port = room.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    got = b""
    try:
        writer.write(data)
        async with asyncio.timeout(10):
            while got.count(b"HTTP/1.1 ") < answers or not got.endswith((b"}", b".")):
                piece = await reader.read(1 << 16)
                if not piece:
                    break
                got += piece
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return got


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request(b"Content-Length: 3"), b"400"),
        (request(b"Transfer-Encoding: chunked"), b"400"),
        (request(length=b"-1"), b"400"),
        (request(b"x-request-id: a\nEvil: 1"), b"400"),
        (request(b"x-request-id: a\r\n Evil: 1"), b"400"),
        (request(b"x-request-id: a\x00b"), b"400"),
        (request(b"x-edgewise-access-node: ../n1"), b"400"),
        (request(b"Content-Encoding: gzip", body=b"\x1f\x8b\x08"), b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (request(version=b"1.0"), b"200"),
        (request(b"x-request-id: " + b"a" * 20_000), b"200"),
        (request(b"Connection: x-request-id, content-type", b"x-request-id: zz"), b"200"),
    ],
)
async def test_strange_requests(room: Room, data: bytes, status: bytes) -> None:
    answer = await raw(room, data)
    assert answer.startswith(b"HTTP/1.1 " + status), answer[:200]
    assert b"\nEvil" not in answer
    assert (await room.ask()).status == 200


async def test_pipelined_prompts_are_all_answered(room: Room) -> None:
    assert (await raw(room, request() * 3, answers=3)).count(b"HTTP/1.1 200") == 3


async def test_clients_that_leave_at_any_point_leave_nothing_behind(room: Room) -> None:
    data = request()
    host, _, port = room.url.removeprefix("http://").partition(":")
    for end in (1, 30, len(data) - 5, len(data)):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(data[:end])
        await writer.drain()
        writer.close()
    assert (await room.ask()).status == 200
    await room.until(lambda: len(room.rows()) >= 1)
    state = await room.state()
    assert not state["in_flight"]
    assert set(state["waiting"].values()) == {0}


async def test_half_open_connections_do_not_keep_others_out(room: Room) -> None:
    host, _, port = room.url.removeprefix("http://").partition(":")
    opened = [await asyncio.open_connection(host, int(port)) for _ in range(200)]
    for _, writer in opened:
        writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    assert (await room.ask()).status == 200
    for _, writer in opened:
        writer.close()


async def test_asking_for_more_than_the_model_takes_is_no_reason_to_refuse(room: Room) -> None:
    asked = {"prompt": "word " * 50_000, "max_tokens": 100_000}
    assert (await room.ask(**asked)).status == 200
    # Nothing is known of this one's context: what it is asked for is believed.
    assert (await room.ask(model="unbounded", **asked)).status == 503
    assert (await room.ask(max_tokens=10**12)).status == 400


async def test_a_plan_of_no_numbers_is_refused(room: Room) -> None:
    plan = '{"plan": {"id": "x", "source": "llm", "made_at_s": 0, "expires_s": NaN, "replicas": []}}'
    async with room.session.put(room.url + "/edgewise/v1/plan", data=plan) as answer:
        assert answer.status == 400
    routes = '[{"access_node": "*", "model": "gpt2", "node": "n1", "weight": Infinity}]'
    plan = plan.replace("NaN", "1").replace('"replicas": []', f'"replicas": [], "routes": {routes}')
    async with room.session.put(room.url + "/edgewise/v1/plan", data=plan) as answer:
        assert answer.status == 400
    assert (await room.state())["plan_id"] is None
    assert (await room.ask()).status == 200


async def test_a_body_that_trickles_in_is_waited_for(room: Room) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        for at in range(0, len(BODY), 8):
            yield BODY[at : at + 8]
            await asyncio.sleep(0.01)

    async with room.session.post(room.url + "/v1/completions", data=slowly()) as answer:
        assert answer.status == 200


async def test_a_body_without_end_is_cut(room: Room) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    try:
        async with room.session.post(room.url + "/v1/completions", data=endless()) as answer:
            assert answer.status == 413
    except aiohttp.ClientError:
        pass  # it hung up on us: as good
    assert (await room.ask()).status == 200
