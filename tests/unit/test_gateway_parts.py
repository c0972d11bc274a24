"""Bodies, headers, spool and event log of the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgewise.domain.codec import from_json
from edgewise.domain.errors import BadInput, SetupError, TooLarge
from edgewise.domain.model import PromptSize, Task
from edgewise.domain.records import PromptRow, PromptStatus
from serving.gateway.bodies import (
    CHAT,
    COMPLETIONS,
    IMAGES,
    check_task,
    cut,
    read_ask,
    usage_of,
    usage_of_events,
)
from serving.gateway.headers import request_headers, response_headers, retry_after
from serving.gateway.journal import EventLog
from serving.gateway.spool import Body


def ask_of(path: str, **fields: Any) -> PromptSize:
    return read_ask(path, json.dumps({"model": "m", **fields}).encode()).size


def test_sizes_are_read_off_the_body() -> None:
    assert ask_of(COMPLETIONS, prompt="x" * 40, max_tokens=8, n=2) == PromptSize(10, 16, 0, 0)
    assert ask_of(COMPLETIONS, prompt=[1, 2, 3]) == PromptSize(3, 16, 0, 0)
    parts = [{"type": "text", "text": "look here"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    chat = ask_of(CHAT, messages=[{"role": "user", "content": parts}], max_completion_tokens=5)
    assert chat == PromptSize(2, 5, 1, 0)
    assert ask_of(IMAGES, prompt="a cat", n=3, steps=4) == PromptSize(1, 0, 3, 4)


def test_a_prompt_is_no_longer_than_its_model_takes() -> None:
    asked = ask_of(COMPLETIONS, prompt="word " * 10_000, max_tokens=100_000)
    assert cut(asked, 1024) == PromptSize(1, 1023, 0, 0)
    assert cut(PromptSize(12_500, 24, 0, 0), 1024) == PromptSize(1000, 24, 0, 0)
    assert cut(PromptSize(10, 20, 1, 0), 128) == PromptSize(10, 20, 1, 0)
    assert cut(asked, None) is asked


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        (COMPLETIONS, b"{", "body"),
        (COMPLETIONS, b"[1]", "body"),
        (COMPLETIONS, b'{"prompt":"x"}', "model"),
        (COMPLETIONS, b'{"model":"m"}', "prompt"),
        (COMPLETIONS, b'{"model":"m","prompt":"x","max_tokens":-1}', "max_tokens"),
        (COMPLETIONS, b'{"model":"m","prompt":"x","max_tokens":1000001}', "max_tokens"),
        (COMPLETIONS, b'{"model":"m","prompt":"x","n":true}', "n"),
        (IMAGES, b'{"model":"m","prompt":"x","n":11}', "n"),
        (IMAGES, b'{"model":"m","prompt":"x","steps":1000000000}', "steps"),
        (CHAT, b'{"model":"m","messages":[]}', "messages"),
        (IMAGES, b'{"model":"m","prompt":7}', "prompt"),
    ],
)
def test_wrong_bodies_say_where(path: str, body: bytes, where: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_ask(path, body)
    assert caught.value.where == where


def test_a_model_must_do_what_the_path_is_for() -> None:
    check_task(CHAT, "gpt2", Task.TEXT_GENERATION, PromptSize())
    with pytest.raises(BadInput, match="text-to-image"):
        check_task(CHAT, "sd", Task.TEXT_TO_IMAGE, PromptSize())
    with pytest.raises(BadInput, match="image_url"):
        check_task(CHAT, "blip", Task.IMAGE_TO_TEXT, PromptSize())


def test_usage_is_found_in_answers_and_streams() -> None:
    assert usage_of(b'{"usage":{"prompt_tokens":3,"completion_tokens":4}}') == (3, 4)
    assert usage_of(b'{"data":[]}') == (None, None)
    tail = b'"}]}\n\ndata: {"usage": {"completion_tokens": 9}}\n\ndata: [DONE]\n\n'
    assert usage_of_events(tail) == (None, 9)


def test_hop_by_hop_headers_stay_on_their_hop() -> None:
    given = [
        (b"Connection", b"close, X-Mine"),
        (b"x-mine", b"1"),
        (b"host", b"gateway"),
        (b"transfer-encoding", b"chunked"),
        (b"authorization", b"Bearer t"),
        (b"x-request-id", b"theirs"),
        (b"x-edgewise-arrived-s", b"0"),
    ]
    assert request_headers(given, "q1", 1.5, 2.25) == {
        "authorization": "Bearer t",
        "x-request-id": "q1",
        "x-edgewise-size-hint": "1.5",
        "x-edgewise-arrived-s": "2.250000",
    }
    back = response_headers(
        [(b"Content-Type", b"text/plain"), (b"Keep-Alive", b"5"), (b"content-length", b"9"), (b"X-A", b"old")],
        {"x-a": "new"},
    )
    assert back == [(b"content-type", b"text/plain"), (b"x-a", b"new")]
    assert [retry_after(s) for s in (0.0, 1.2, 7.0)] == ["1", "2", "7"]


async def sent(body: Body) -> bytes:
    payload = body.payload()
    if isinstance(payload, AsyncIterator):
        return b"".join([piece async for piece in payload])
    return payload


@pytest.mark.parametrize("memory", [10, 1 << 20])
async def test_a_body_can_be_sent_twice(tmp_path: Path, memory: int) -> None:
    body = Body(tmp_path, 1 << 20, memory)
    data = os.urandom(600_000)
    for at in range(0, len(data), 70_000):
        body.add(data[at : at + 70_000])
    assert body.spooled is (memory == 10)
    assert await body.read(bytes) == data
    assert await sent(body) == data
    assert await sent(body) == data
    body.close()
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_a_body_has_a_limit_and_needs_a_disk(tmp_path: Path) -> None:
    body = Body(tmp_path, 100, 100)
    with pytest.raises(TooLarge):
        body.add(b"x" * 101)
    with pytest.raises(SetupError, match="spool"):
        Body(tmp_path / "none", 100, 10).add(b"x" * 11)


def row(prompt_id: str) -> PromptRow:
    return PromptRow(prompt_id, "m", "n1", None, 0.0, None, 1.0, PromptStatus.SHED, None, 0, 5.0, 1.0)


def test_rows_the_disk_refuses_are_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = EventLog(tmp_path / "run")
    with fills_up(monkeypatch, after_bytes=0):
        log.write(row("a"))
    with fills_up(monkeypatch, after_bytes=50):
        log.write(row("b"))
        assert log.path.read_bytes() == b""  # part of a line would damage the next one
    log.write(row("c"))
    with fills_up(monkeypatch, after_bytes=10):
        log.write(row("d"))
    log.close()
    lines = log.path.read_bytes().splitlines()
    assert [from_json(PromptRow, line).id for line in lines] == ["a", "b", "c", "d"]


@contextlib.contextmanager
def fills_up(monkeypatch: pytest.MonkeyPatch, after_bytes: int) -> Iterator[None]:
    """A disk with room for so many bytes: the write that meets its end is short, those behind it fail."""
    real, room = os.write, [after_bytes]

    def write(handle: int, data: bytes) -> int:
        if room[0] <= 0:
            raise OSError(28, "No space left on device")
        written = real(handle, data[: room[0]])
        room[0] -= written
        return written

    with monkeypatch.context() as patched:
        patched.setattr("tools.rundir.os.write", write)
        yield


def test_an_event_log_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="event log"):
        EventLog(tmp_path / "file")


async def test_parsing_a_spooled_body_leaves_the_loop(tmp_path: Path) -> None:
    body = Body(tmp_path, 1 << 20, 1)
    body.add(b'{"model":"m","prompt":"x"}')
    main = asyncio.get_running_loop()

    def parse(view: bytes | memoryview) -> str:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return read_ask(COMPLETIONS, view).model

    assert await body.read(parse) == "m"
    assert main is asyncio.get_running_loop()
    body.close()
