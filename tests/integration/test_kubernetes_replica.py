"""The echo replica as a process: the node server's API for one model, and an end that cuts nothing."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "deploy" / "replica"


class Echo:
    """A running echo replica of model `m`."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        model = {"id": "m", "load_s": 0.2, "max_concurrency": 1, "mean_service_s": 0.05, "memory_gib": 1.5}
        given = {
            "node": "n1",
            "model": model | changes.pop("model", {}),
            "host": "127.0.0.1",
            "port": port,
            **changes,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "echo_replica"],
            cwd=PROGRAM,
            env={**os.environ, "EDGEWISE_REPLICA": json.dumps(given), "PYTHONDONTWRITEBYTECODE": "1"},
            stderr=(folder / "log").open("w"),
        )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20)
        self.pool = ThreadPoolExecutor(8)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self.http.close()
        self.pool.shutdown()

    def row(self) -> dict[str, Any]:
        return dict(self.http.get("/edgewise/v1/state").json()["replicas"][0])

    def until(self, **wanted: Any) -> None:
        end = time.monotonic() + 15
        while True:
            try:
                row = self.row()
            except httpx.TransportError:
                row = {}
            if wanted.items() <= row.items():
                return
            assert time.monotonic() < end, f"never {wanted}, still {row}"
            time.sleep(0.02)

    def prompt(self, seconds: float) -> httpx.Response:
        headers = {"x-edgewise-size-hint": str(seconds), "x-request-id": "r1"}
        return self.http.post("/v1/completions", json={"model": "m", "prompt": "hello you"}, headers=headers)

    def later(self, seconds: float) -> Future[httpx.Response]:
        return self.pool.submit(self.prompt, seconds)


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[Echo]:
    running = Echo(tmp_path)
    try:
        running.until(state="ready")
        yield running
    finally:
        running.close()


def test_a_prompt_takes_the_seconds_it_says_and_is_answered_as_an_echo(echo: Echo) -> None:
    began = time.monotonic()
    answer = echo.prompt(0.3)
    assert time.monotonic() - began >= 0.3
    body = answer.json()
    assert body["choices"][0]["text"] == "[echo replica, no model] hello you"
    assert (body["id"], body["model"], answer.headers["x-edgewise-node"]) == ("r1", "m", "n1")
    assert float(answer.headers["x-edgewise-service-ms"]) >= 300
    assert answer.headers["x-edgewise-cold-start"] == "true"
    assert echo.prompt(0.0).headers["x-edgewise-cold-start"] == "false"
    assert echo.row()["served"] == 2


def test_a_drain_hands_the_queue_back_and_lets_the_rest_finish(echo: Echo) -> None:
    running = echo.later(1.5)
    echo.until(in_flight=1)
    queued = echo.later(0.1)
    echo.until(in_flight=1, queued=1)
    assert echo.http.post("/edgewise/v1/models/m/drain").status_code == 200
    handed = queued.result(10)
    assert (handed.status_code, handed.headers["x-edgewise-handed-back"]) == (503, "1")
    assert "retry-after" in handed.headers
    assert not running.done()
    assert echo.http.get("/v2/models/m/ready").status_code == 503
    assert echo.prompt(0.1).status_code == 503
    assert echo.http.post("/edgewise/v1/models/m/drain").status_code == 200
    busy = echo.http.post("/v2/repository/models/m/unload")
    assert (busy.status_code, busy.json()["error"]["code"]) == (409, "replica_busy")
    assert running.result(10).status_code == 200
    assert echo.http.post("/v2/repository/models/m/unload").status_code == 200
    assert echo.http.get("/edgewise/v1/state").json()["replicas"] == []
    assert echo.http.post("/v2/repository/models/m/load").status_code == 202
    echo.until(state="ready")
    assert echo.http.post("/v2/repository/models/m/load").status_code == 200


def test_sigterm_ends_it_only_when_the_prompt_in_flight_is_answered(echo: Echo) -> None:
    running = echo.later(1.5)
    echo.until(in_flight=1)
    echo.process.send_signal(signal.SIGTERM)
    time.sleep(0.7)
    assert echo.prompt(0.1).status_code == 503
    assert running.result(10).status_code == 200
    assert echo.process.wait(10) == 0


def test_a_client_that_leaves_frees_its_place(echo: Echo) -> None:
    with pytest.raises(httpx.ReadTimeout), httpx.Client(base_url=echo.http.base_url, timeout=0.5) as hasty:
        hasty.post("/v1/completions", json={"model": "m"}, headers={"x-edgewise-size-hint": "60"})
    echo.until(in_flight=0, queued=0)
    assert echo.prompt(0.0).status_code == 200
    assert echo.row()["served"] == 1


def test_shapes_of_the_other_tasks(echo: Echo) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    chat = {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "what?"}, image]}]}
    said = echo.http.post("/v1/chat/completions", json=chat).json()
    assert said["choices"][0]["message"]["content"].endswith("what? an image of 26 characters")
    drawn = echo.http.post("/v1/images/generations", json={"model": "m", "prompt": "x", "n": 2, "size": "8x8"}).json()
    pictures = [base64.b64decode(d["b64_json"]) for d in drawn["data"]]
    assert [p[:8] for p in pictures] == [b"\x89PNG\r\n\x1a\n"] * 2
    assert struct.unpack(">II", pictures[0][16:24]) == (8, 8)
    with echo.http.stream("POST", "/v1/completions", json={"model": "m", "prompt": "a b", "stream": True}) as stream:
        events = [line[6:] for line in stream.iter_lines() if line]
    assert events[-1] == "[DONE]"
    assert "".join(json.loads(e)["choices"][0]["text"] for e in events[:-1]).split()[-2:] == ["a", "b"]


def test_what_it_does_not_take(echo: Echo) -> None:
    assert echo.http.post("/v1/completions", json={"model": "x"}).json()["error"]["code"] == "model_not_found"
    assert echo.http.post("/v1/completions", content=b"{").status_code == 400
    assert echo.http.post("/v1/completions", content=b"[]").status_code == 400
    assert echo.http.post("/v1/chat/completions", json={"model": "m"}).status_code == 400
    assert echo.http.post("/edgewise/v1/models/x/drain").status_code == 404
    assert echo.http.put("/edgewise/v1/shares", json={"m": 0}).status_code == 400
    assert echo.http.put("/edgewise/v1/shares", json={"m": 2}).status_code == 200
    assert echo.row()["share"] == 2.0
    assert echo.http.get("/v2/models/x/ready").status_code == 404
    assert echo.http.get("/nowhere").status_code == 404
    assert 'edgewise_replica_state{node="n1",model="m",state="ready"} 1' in echo.http.get("/metrics").text


def test_prompts_share_its_places_and_all_are_answered(tmp_path: Path) -> None:
    echo = Echo(tmp_path, model={"max_concurrency": 2})
    try:
        echo.until(state="ready")
        most, stop = 0, threading.Event()

        def watch() -> None:
            nonlocal most
            while not stop.wait(0.02):
                most = max(most, echo.row()["in_flight"])

        watching = echo.pool.submit(watch)
        answers = [echo.later(0.2) for _ in range(6)]
        assert {a.result(15).status_code for a in answers} == {200}
        stop.set()
        watching.result(10)
        assert most == 2
    finally:
        echo.close()


def test_a_load_that_fails_ends_the_process_with_a_last_word(tmp_path: Path) -> None:
    word = tmp_path / "last-word"
    echo = Echo(tmp_path, model={"checkpoint": str(tmp_path / "none")}, exit_when_failed=str(word))
    try:
        assert echo.process.wait(15) == 1
        assert word.read_text() == f"no checkpoint at {tmp_path / 'none'}"
    finally:
        echo.close()


def test_bad_set_up_is_one_line_and_exit_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "echo_replica"]
    for given in ("{}", "not json"):
        env = {**os.environ, "EDGEWISE_REPLICA": given}
        done = subprocess.run(command, cwd=PROGRAM, env=env, capture_output=True, text=True, timeout=20, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
