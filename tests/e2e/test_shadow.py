"""`edgewise shadow` attached to a running demo: the demo is the foreign system."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from evals.record import record
from evals.scenario_file import load_scenario
from evals.traces import read_trace
from tests.support.demo_process import DemoProcess
from tests.support.foreign_servers import Fake, Ollama, Vllm, serving
from tests.support.free_ports import free_pair
from tools.rundir import read_lines

pytestmark = pytest.mark.timeout(300)
LOOKS_S = 20.0


@asynccontextmanager
async def watched(urls: list[str]) -> AsyncIterator[tuple[list[str], list[tuple[str, str]]]]:
    """URLs that hand requests on to these, and every (method, path) that came."""
    asked: list[tuple[str, str]] = []
    runners = []
    async with aiohttp.ClientSession() as session:
        made = []
        for url in urls:

            async def hand_on(request: web.Request, url: str = url) -> web.Response:
                asked.append((request.method, request.path))
                async with session.request(request.method, url + request.path_qs) as answer:
                    kind = answer.content_type
                    return web.Response(status=answer.status, body=await answer.read(), content_type=kind)

            app = web.Application()
            app.router.add_route("*", "/{path:.*}", hand_on)
            runner = web.AppRunner(app)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            runners.append(runner)
            made.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        try:
            yield made, asked
        finally:
            for runner in runners:
                await runner.cleanup()


async def shadow(*arguments: str) -> tuple[int, dict[str, Any], str]:
    """(exit code, the document, stderr)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edgewise.cli", "shadow", "--json", *arguments,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ),
    )  # fmt: skip
    out, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, dict(json.loads(out)), errors.decode()


async def node_urls(gateway: str) -> list[str]:
    async with aiohttp.ClientSession() as session, session.get(f"{gateway}/edgewise/v1/state") as answer:
        return [node["url"] for node in (await answer.json())["nodes"]]


@pytest.mark.slow  # a whole demo to look at
async def test_what_it_records_is_what_the_demo_did(
    start_demo: Callable[..., DemoProcess], tmp_path: Path
) -> None:  # fmt: skip
    port = free_pair()
    out, gateway = tmp_path / "shadow", f"http://127.0.0.1:{port}"
    demo = start_demo("--duration", "36", "--nodes", "3", "--slot-s", "2", "--epoch-slots", "3", "--speedup", "0.5",
                      "--port", str(port))  # fmt: skip
    await asyncio.to_thread(demo.wait_for, lambda: demo.prompts() > 0)
    async with watched([gateway, *await node_urls(gateway)]) as (urls, asked):
        code, found, errors = await shadow(
            *urls, "--duration", str(LOOKS_S), "--interval", "1", "--seeds", "2", "--out", str(out)
        )
    assert code == 0, errors
    demo.finish(code=demo.process.wait(120))

    assert {method for method, _ in asked} == {"GET"}
    systems = [row["system"] for row in found["endpoints"]]
    assert sorted(systems) == ["edgewise-gateway", *["edgewise-node"] * 3]
    assert all(row["failed_polls"] == 0 for row in found["endpoints"])

    begun_s, rows = _aligned(demo.run, out)
    end_s = begun_s + found["duration_s"]
    came = [r for r in rows if begun_s < r["arrived_s"] <= end_s]
    assert len(came) > 20
    # The moment of a look is known to some tens of milliseconds.
    assert found["prompts"] == pytest.approx(len(came), abs=max(2.0, 0.04 * len(came)))
    ended = [r for r in rows if r["status"] == "completed" and begun_s < r["finished_s"] <= end_s]
    mean_s = sum(r["finished_s"] - r["arrived_s"] for r in ended) / len(ended)
    assert found["measured"]["all"]["mean_latency_s"] == pytest.approx(mean_s, rel=0.1)

    trace = read_trace(out / "trace.csv.gz")
    assert len(trace) == found["prompts"]
    nodes = {n.id for n in load_scenario(out / "scenario.yaml").nodes}
    assert nodes == {"edge-1", "edge-2", "edge-3"}
    assert {row.access_node for row in trace} <= nodes
    assert {row.model for row in trace} <= {row.model for row in record(demo.run).rows}
    plan = json.loads((out / "plan.json").read_text())
    assert plan["replicas"]
    assert found["verdict"] in ("promise", "no-gain", "refused")
    assert found["sentence"]
    budgets = {n["id"]: n["memory_gib"] for n in found["calibration"]["nodes"]}
    assert budgets == {"edge-1": 6.0, "edge-2": 4.0, "edge-3": 5.0}


def _aligned(run: Path, out: Path) -> tuple[float, list[dict[str, Any]]]:
    """(the demo's run second of the first look, its prompts). The gateway counts arrivals: as many as it shows at the
    first look had come by then."""
    rows = sorted((r for _, r in read_lines(run / "events.jsonl") if "arrived_s" in r), key=lambda r: r["arrived_s"])
    for line in (out / "polls.jsonl").read_text().splitlines():
        poll = json.loads(line)
        counts = [c["value"] for c in poll["reading"]["counts"] if c["what"] == "arrived"]
        if poll["at_s"] < 1.0 and counts:
            return float(rows[int(sum(counts)) - 1]["arrived_s"]), rows
    raise AssertionError("the first look at the gateway shows no prompts")


async def test_what_counts_nothing_is_recorded_and_nothing_is_promised(tmp_path: Path) -> None:
    async with serving(Ollama().fake()) as fake:
        code, found, _ = await shadow(fake.url, "--duration", "2", "--interval", "0.5", "--out", str(tmp_path / "o"))
    assert code == 0
    assert found["verdict"] == "refused"
    assert "no prompt was seen" in found["sentence"]
    assert any("it counts none" in gap for gap in found["endpoints"][0]["unknown"])
    assert {method for method, _ in fake.asked} == {"GET"}


async def test_a_look_that_fails_is_noted_and_the_recording_can_be_judged_again(tmp_path: Path) -> None:
    it = Vllm()
    fake, out = it.fake(), tmp_path / "v"

    async def live() -> None:
        while True:
            await asyncio.sleep(0.05)
            it.ends(0.2 + 0.01 * (len(it.took_s) % 7))
            fake.broken = 14 <= len(fake.asked) < 18  # after the ten that find out what it is

    async with serving(fake):
        living = asyncio.create_task(live())
        code, found, errors = await shadow(fake.url, "--duration", "4", "--interval", "0.3", "--out", str(out))
        living.cancel()
    assert code == 0, errors
    (row,) = found["endpoints"]
    assert 0 < row["failed_polls"] < row["polls"]
    assert "looking on" in errors
    assert found["prompts"] == found["measured"]["all"]["ended"] > 20
    assert "too little traffic" in found["sentence"]
    assert (out / "plan.json").exists()
    code, again, _ = await shadow("--from", str(out), "--out", str(tmp_path / "again"))
    assert code == 0
    assert (again["prompts"], again["measured"]) == (found["prompts"], found["measured"])


async def test_bad_input_is_said_with_exit_code_2(tmp_path: Path) -> None:
    code, found, errors = await shadow("http://127.0.0.1:9", "--duration", "2", "--out", str(tmp_path / "x"))
    assert (code, found["error"]["code"]) == (2, "bad_input")
    assert "nothing answers" in errors
    async with serving(Fake({})) as fake:
        code, _, errors = await shadow(fake.url, "--duration", "2", "--out", str(tmp_path / "y"))
    assert code == 2
    assert "none of" in errors
    assert (await shadow("--interval", "0"))[0] == 2
