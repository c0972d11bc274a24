"""Prompts through a real gateway to fake nodes, over real sockets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from edgewise.domain.cluster import NodeSpec, ReplicaState
from edgewise.domain.model import ModelSpec, Task
from edgewise.domain.plan import ANY, Plan, ReplicaGoal, Route, Source
from edgewise.domain.records import PromptStatus
from edgewise.domain.world import World
from serving.gateway.config import GatewayConfig, Limits, NodeAddress
from tests.support.gateway_node import GatewayNode, Room, running
from tools.router import HttpRouter

READY, LOADING = ReplicaState.READY, ReplicaState.LOADING
WORLD = World(
    nodes=(NodeSpec("n1", 4.0), NodeSpec("n2", 4.0)),
    models=(
        ModelSpec("gpt2", Task.TEXT_GENERATION, 1.0, 0.05, deadline_s=20.0),
        ModelSpec("blip", Task.IMAGE_TO_TEXT, 1.0, 0.05, deadline_s=20.0),
        ModelSpec("sd", Task.TEXT_TO_IMAGE, 1.0, 0.05, deadline_s=0.6),
    ),
)


@pytest.fixture
async def nodes() -> AsyncIterator[tuple[GatewayNode, GatewayNode]]:
    origin = time.monotonic()
    pair = GatewayNode("n1", origin, {"gpt2": READY}), GatewayNode("n2", origin, {"gpt2": READY})
    for node in pair:
        await node.start()
    yield pair
    for node in pair:
        await node.kill()


@pytest.fixture
async def room(nodes: tuple[GatewayNode, GatewayNode], tmp_path: Path) -> AsyncIterator[Room]:
    config = GatewayConfig(
        world=WORLD,
        run_dir=str(tmp_path),
        origin=nodes[0].origin,
        nodes=tuple(NodeAddress(n.id, n.url) for n in nodes),
        limits=Limits(
            slot_s=4.0,
            node_poll_s=0.05,
            node_dead_after_s=0.6,
            node_lost_after_s=2.0,
            max_body_mib=0.5,
            spool_mib=0.01,
        ),
    )
    async with running(config) as room:
        await room.until_alive("n1", "n2")
        yield room


def plan(weights: dict[str, float], expires_s: float = 1e9, plan_id: str = "p1") -> Plan:
    routes = tuple(Route(ANY, "gpt2", node, weight) for node, weight in weights.items())
    goals = tuple(ReplicaGoal(node, "gpt2") for node in weights)
    return Plan(plan_id, Source.OPTIMISER, 0.0, expires_s, goals, routes)


async def test_completion_passes_and_is_written_down(room: Room, nodes: tuple[GatewayNode, GatewayNode]) -> None:
    answer = await room.ask(headers={"x-request-id": "q1", "connection": "keep-alive, x-secret", "x-secret": "1"})
    assert answer.status == 200
    assert answer.headers["x-edgewise-node"] == "n1"
    assert answer.headers["x-edgewise-attempts"] == "1"
    assert float(answer.headers["x-edgewise-queue-ms"]) > 0
    assert (await answer.json())["choices"][0]["text"] == "from n1"
    sent = nodes[0].seen[0]
    assert json.loads(sent["body"])["prompt"] == "hello there"
    assert sent["headers"]["x-request-id"] == "q1"
    assert float(sent["headers"]["x-edgewise-size-hint"]) == pytest.approx(0.05)
    assert "x-secret" not in sent["headers"], "headers named by Connection belong to one hop"
    await room.until(lambda: len(room.rows()) == 1)
    row = room.rows()[0]
    assert (row.id, row.node, row.status, row.attempts) == ("q1", "n1", PromptStatus.COMPLETED, 1)
    assert (row.input_tokens, row.output_tokens, row.deadline_s) == (7, 3, 20.0)
    assert row.started_s is not None
    assert row.finished_s is not None
    assert row.arrived_s <= row.started_s <= row.finished_s


async def test_stream_passes_event_by_event(room: Room, nodes: tuple[GatewayNode, GatewayNode]) -> None:
    nodes[0].behave = nodes[1].behave = lambda _: "stream"
    body = {"model": "gpt2", "prompt": "x", "stream": True}
    async with room.session.post(room.url + "/v1/completions", json=body) as answer:
        assert answer.content_type == "text/event-stream"
        chunks = [chunk async for chunk in answer.content.iter_any()]
    assert len(chunks) > 1, "events come as they are made, not all at the end"
    assert b"".join(chunks).endswith(b"data: [DONE]\n\n")
    await room.until(lambda: len(room.rows()) == 1)
    row = room.rows()[0]
    assert (row.status, row.stream_begun, row.output_tokens) == (PromptStatus.COMPLETED, True, 2)


@pytest.mark.parametrize("fault", ["back", "drop", "half", "stream-never"])
async def test_sent_again_when_lost_before_the_first_byte(
    room: Room, nodes: tuple[GatewayNode, GatewayNode], fault: str
) -> None:
    nodes[0].behave = lambda _: fault
    answer = await room.ask()
    assert answer.status == 200
    assert answer.headers["x-edgewise-node"] == "n2"
    assert answer.headers["x-edgewise-attempts"] == "2"
    assert nodes[0].seen[0]["body"] == nodes[1].seen[0]["body"]


async def test_spooled_body_is_sent_again_whole(room: Room, nodes: tuple[GatewayNode, GatewayNode]) -> None:
    nodes[0].behave = lambda _: "drop"
    long = "".join(chr(97 + i % 26) for i in range(300_000))
    answer = await room.ask(prompt=long)
    assert answer.headers["x-edgewise-node"] == "n2"
    assert json.loads(nodes[1].seen[0]["body"])["prompt"] == long


async def test_killed_node_loses_no_prompt(room: Room, nodes: tuple[GatewayNode, GatewayNode]) -> None:
    for node in nodes:
        node.service_s = 0.4
    asks = [asyncio.create_task(room.ask()) for _ in range(10)]
    await room.until(lambda: nodes[0].running >= 3)
    await nodes[0].kill()
    answers = await asyncio.gather(*asks)
    assert {a.status for a in answers} == {200}
    assert {a.headers["x-edgewise-node"] for a in answers} == {"n2"}
    await room.until_alive("n2")


async def test_death_in_mid_stream_ends_in_an_error_event(room: Room, nodes: tuple[GatewayNode, GatewayNode]) -> None:
    nodes[0].behave = nodes[1].behave = lambda _: "stream-die"
    answer = await room.ask(stream=True)
    events = (await answer.read()).split(b"\n\n")
    assert events[0].startswith(b'data: {"choices"')
    assert json.loads(events[-2].split(b"data: ")[1])["error"]["code"] == "node_lost"
    assert b'{"te\n' not in await answer.read()
    await room.until(lambda: len(room.rows()) == 1)
    row = room.rows()[0]
    assert (row.status, row.stream_begun, row.attempts) == (PromptStatus.FAILED, True, 1)


async def test_held_until_a_replica_is_ready(room: Room, nodes: tuple[GatewayNode, GatewayNode]) -> None:
    picture: dict[str, Any] = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    messages = [{"role": "user", "content": [picture]}]
    asks = [asyncio.create_task(room.ask("blip", path="/v1/chat/completions", messages=messages)) for _ in range(5)]
    await room.until_waiting("blip", 5)
    nodes[1].replicas["blip"] = LOADING
    await asyncio.sleep(0.2)
    assert not any(ask.done() for ask in asks)
    nodes[1].replicas["blip"] = READY
    answers = await asyncio.gather(*asks)
    assert {a.headers["x-edgewise-node"] for a in answers} == {"n2"}
    assert [int(a.headers["x-edgewise-attempts"]) for a in answers] == [1] * 5


async def test_shed_when_it_would_miss_its_deadline(room: Room, nodes: tuple[GatewayNode, GatewayNode]) -> None:
    nodes[0].replicas["sd"], nodes[0].ready_in_s = LOADING, 7.3
    started = time.monotonic()
    answer = await room.ask("sd", path="/v1/images/generations")
    assert answer.status == 503
    assert answer.headers["retry-after"] == "8"
    assert (await answer.json())["error"]["code"] == "shed"
    assert time.monotonic() - started > 0.4, "held as long as there was hope"
    await room.until(lambda: len(room.rows()) == 1)
    assert room.rows()[0].status is PromptStatus.SHED


async def test_shed_under_overload(room: Room, nodes: tuple[GatewayNode, GatewayNode]) -> None:
    for node in nodes:
        node.replicas["sd"], node.service_s = READY, 0.2
    answers = await asyncio.gather(*(room.ask("sd", path="/v1/images/generations") for _ in range(60)))
    shed = [a for a in answers if a.status == 503]
    assert 0 < len(shed) < 60
    assert all(int(a.headers["retry-after"]) >= 1 for a in shed)
    error = (await shed[0].json())["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["code"], error["type"]) == ("shed", "server_error")
    # Who does as told is answered.
    await asyncio.sleep(int(shed[0].headers["retry-after"]))
    again = await room.ask("sd", path="/v1/images/generations")
    assert again.status == 200


async def test_what_the_node_is_told_of_a_prompt(room: Room, nodes: tuple[GatewayNode, GatewayNode]) -> None:
    before_s = time.monotonic() - nodes[0].origin
    mine = {"x-gateway-inference-fairness-id": "team-a", "x-edgewise-arrived-s": "0"}
    answer = await room.ask(headers=mine)
    assert answer.status == 200
    (seen,) = nodes[0].seen + nodes[1].seen
    assert seen["headers"]["x-gateway-inference-fairness-id"] == "team-a"
    assert float(seen["headers"]["x-edgewise-arrived-s"]) >= before_s - 0.01


async def test_disconnect_cancels_at_the_node(room: Room, nodes: tuple[GatewayNode, GatewayNode]) -> None:
    nodes[0].behave = nodes[1].behave = lambda _: "slow"
    ask = asyncio.create_task(room.ask())
    await room.until(lambda: nodes[0].running == 1)
    ask.cancel()
    await room.until(lambda: nodes[0].cancelled == 1 and len(room.rows()) == 1)
    assert room.rows()[0].status is PromptStatus.CANCELLED
    assert (await room.state())["in_flight"] == []


async def test_disconnect_while_held_leaves_the_queue(room: Room) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    messages = [{"role": "user", "content": [picture]}]
    ask = asyncio.create_task(room.ask("blip", path="/v1/chat/completions", messages=messages))
    await room.until_waiting("blip", 1)
    ask.cancel()
    await room.until(lambda: len(room.rows()) == 1)
    assert (await room.state())["waiting"]["blip"] == 0
    assert (room.rows()[0].status, room.rows()[0].attempts) == (PromptStatus.CANCELLED, 0)


async def test_wrong_asks_have_the_openai_shape(room: Room) -> None:
    unknown = await room.ask("gpt5")
    assert unknown.status == 404
    assert (await unknown.json())["error"]["code"] == "model_not_found"
    broken = await room.session.post(room.url + "/v1/completions", data=b"{")
    assert (broken.status, (await broken.json())["error"]["type"]) == (400, "invalid_request_error")
    assert (await room.ask("sd")).status == 400, "an image model does not complete text"
    assert (await room.ask(headers={"x-edgewise-access-node": "mars"})).status == 400
    large = await room.session.post(room.url + "/v1/completions", data=b" " * 600_000)
    assert (large.status, (await large.json())["error"]["code"]) == (413, "too_large")
    assert (await room.session.get(room.url + "/v1/completions")).status == 405
    assert (await room.session.get(room.url + "/nowhere")).status == 404
    assert room.rows() == [], "what was not accepted has no row"


async def test_a_node_that_refuses_the_prompt_is_answered_for(
    room: Room, nodes: tuple[GatewayNode, GatewayNode]
) -> None:
    nodes[0].behave = nodes[1].behave = lambda _: "bad"
    answer = await room.ask()
    assert (answer.status, (await answer.json())["error"]["code"]) == (400, "too_long")
    await room.until(lambda: len(room.rows()) == 1)
    assert (room.rows()[0].status, room.rows()[0].attempts) == (PromptStatus.FAILED, 1)


async def test_gives_up_after_max_attempts(room: Room, nodes: tuple[GatewayNode, GatewayNode]) -> None:
    nodes[0].behave = nodes[1].behave = lambda _: "back"
    answer = await room.ask()
    assert answer.status == 502
    assert len(nodes[0].seen) + len(nodes[1].seen) == 5
    await room.until(lambda: len(room.rows()) == 1)
    assert (room.rows()[0].status, room.rows()[0].attempts) == (PromptStatus.FAILED, 5)


async def test_a_plan_is_obeyed_once_acknowledged(room: Room, nodes: tuple[GatewayNode, GatewayNode]) -> None:
    router = HttpRouter([room.url])
    try:
        for turn, (only, other) in enumerate([("n1", "n2"), ("n2", "n1"), ("n1", "n2")]):
            ack = await router.publish(plan({only: 1.0, other: 0.0}, plan_id=f"p{turn}"), f"d{turn}")
            assert ack.plan_id == f"p{turn}"
            answers = await asyncio.gather(*(room.ask() for _ in range(10)))
            assert {a.headers["x-edgewise-node"] for a in answers} == {only}
            assert {a.headers["x-edgewise-decision"] for a in answers} == {f"d{turn}"}
        assert (await room.state())["lease_expired"] is False
        await router.publish(plan({"n2": 1.0}, expires_s=0.0, plan_id="old"), "d9")
        state = await room.state()
        assert (state["lease_expired"], state["plan_id"], state["decision"]) == (True, "old", "d9")
        assert (await room.ask()).headers["x-edgewise-node"] == "n2"
        await router.set_nodes({"n1": nodes[0].url})
        assert (await room.ask()).headers["x-edgewise-node"] == "n1", "the plan's only node is gone"
    finally:
        await router.aclose()


async def test_a_silent_node_is_avoided_and_comes_back(room: Room, nodes: tuple[GatewayNode, GatewayNode]) -> None:
    nodes[0].silence()
    await room.until_alive("n2")
    assert (await room.ask()).headers["x-edgewise-node"] == "n2"
    nodes[0].speak()
    await room.until_alive("n1", "n2")
    await nodes[1].kill()
    assert (await room.ask()).headers["x-edgewise-node"] == "n1"


async def test_prompts_of_a_hung_node_are_sent_elsewhere(room: Room, nodes: tuple[GatewayNode, GatewayNode]) -> None:
    nodes[0].behave = lambda _: "slow"
    ask = asyncio.create_task(room.ask())
    await room.until(lambda: nodes[0].running == 1)
    nodes[0].silence()
    answer = await asyncio.wait_for(ask, 20)
    assert (answer.headers["x-edgewise-node"], answer.headers["x-edgewise-attempts"]) == ("n2", "2")


async def test_catalogue_health_and_metrics(room: Room) -> None:
    await room.ask()
    await room.ask("gpt2", headers={"x-edgewise-access-node": "n2"})
    get = room.session.get
    models = await (await get(room.url + "/v1/models")).json()
    assert [m["id"] for m in models["data"]] == ["gpt2", "blip", "sd"]
    statuses = {
        path: (await get(room.url + path)).status
        for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/gpt2/ready", "/v2/models/blip/ready")
    }
    assert list(statuses.values()) == [200, 200, 200, 503]
    assert (await get(room.url + "/v2/models/nope/ready")).status == 404
    index = await (await room.session.post(room.url + "/v2/repository/index")).json()
    assert {row["name"]: row["state"] for row in index} == {
        "gpt2": "READY",
        "blip": "UNAVAILABLE",
        "sd": "UNAVAILABLE",
    }
    await room.until(lambda: len(room.rows()) == 2)
    text = await (await get(room.url + "/metrics")).text()
    assert 'edgewise_prompts_arrived_total{access_node="n2",model="gpt2"} 1.0' in text
    assert 'edgewise_prompts_finished_total{model="gpt2",status="completed"} 2.0' in text
    assert 'gen_ai_server_request_duration_seconds_count{gen_ai_operation_name="text_completion"' in text
    for name in ("prompts_waiting", "prompts_in_flight", "dispatch_seconds", "route_lease_expired"):
        assert f"edgewise_{name}" in text
    figures = (await room.state())["models"]["gpt2"]
    assert (figures["arrived"], figures["completed"]) == (2, 2)
    assert 0 < figures["mean_latency_s"] <= figures["p95_latency_s"] * 2


async def test_stopping_writes_open_prompts_as_pending(room: Room, nodes: tuple[GatewayNode, GatewayNode]) -> None:
    nodes[0].behave = nodes[1].behave = lambda _: "slow"
    ask = asyncio.create_task(room.ask(headers={"x-request-id": "late"}))
    await room.until(lambda: nodes[0].running == 1)
    begun = time.monotonic()
    room.stop.set()
    await asyncio.wait_for(asyncio.shield(room.served), 15)
    assert time.monotonic() - begun < 10
    answer = await ask
    assert answer.status == 503
    rows = room.rows()
    assert [(r.id, r.status, r.finished_s) for r in rows] == [("late", PromptStatus.PENDING, None)]
    with pytest.raises(aiohttp.ClientConnectorError):
        await room.session.get(room.url + "/v2/health/live")
