"""Recordings: every call stored by its input's hash, and played back."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from agents.recordings import RecordingChat, ReplayChat, input_hash, prune, recording_path
from agents.retry_after import retry_after_s
from edgewise.control.ports import ChatModel, ChatReply, ChatRequest
from edgewise.domain.errors import ChatUnavailable

REQUEST = ChatRequest("planner-v1", "system", "user ü", {"type": "object"})


class Scripted:
    """Answers in turn; an exception is raised."""

    def __init__(self, *ends: ChatReply | ChatUnavailable) -> None:
        self.ends = list(ends)
        self.closed = False

    async def ask(self, request: ChatRequest, timeout_s: float) -> ChatReply:
        end = self.ends.pop(0)
        if isinstance(end, ChatUnavailable):
            raise end
        return end

    async def aclose(self) -> None:
        self.closed = True


def reply(text: str) -> ChatReply:
    return ChatReply(text, "stop", 12, 0.5)


async def outcome(chat: ChatModel, request: ChatRequest = REQUEST) -> tuple[str, float | None]:
    try:
        return (await chat.ask(request, 1.0)).text, None
    except ChatUnavailable as error:
        return error.message, error.retry_after_s


async def test_what_was_recorded_is_played_back_in_order_and_then_repeats(tmp_path: Path) -> None:
    inner = Scripted(reply("one \U0001f600"), ChatUnavailable("busy", retry_after_s=7.0), reply("three"))
    live = RecordingChat(inner, tmp_path / "recordings")
    seen = [await outcome(live) for _ in range(3)]
    await live.aclose()
    assert inner.closed
    replay = ReplayChat(tmp_path / "recordings")
    assert isinstance(live, ChatModel)
    assert isinstance(replay, ChatModel)
    assert [await outcome(replay) for _ in range(4)] == [*seen, seen[-1]]
    assert seen[1] == ("busy", 7.0)


async def test_the_whole_reply_comes_back(tmp_path: Path) -> None:
    live = RecordingChat(Scripted(reply("x")), tmp_path)
    assert await live.ask(REQUEST, 1.0) == await ReplayChat(tmp_path).ask(REQUEST, 9.0) == reply("x")


@pytest.mark.parametrize("field", ["key", "system", "user", "max_tokens", "temperature", "schema", "model", "prompt"])
async def test_any_other_input_is_another_call(tmp_path: Path, field: str) -> None:
    other = {"max_tokens": 5, "temperature": 0.7, "schema": {"type": "array"}}.get(field, "other")
    changed = replace(REQUEST, **{field: other})
    assert input_hash(changed) != input_hash(REQUEST)
    await RecordingChat(Scripted(reply("x")), tmp_path).ask(REQUEST, 1.0)
    with pytest.raises(ChatUnavailable, match="not recorded"):
        await ReplayChat(tmp_path).ask(changed, 1.0)


async def test_a_file_holds_the_input_and_no_temporary_file_stays(tmp_path: Path) -> None:
    await RecordingChat(Scripted(reply("x")), tmp_path).ask(REQUEST, 1.0)
    (path,) = tmp_path.iterdir()  # noqa: ASYNC240  # nothing else runs
    assert path == recording_path(tmp_path, REQUEST)
    stored = json.loads(path.read_text())
    assert stored["hash"] == input_hash(REQUEST)
    assert stored["request"]["user"] == "user ü"


async def test_calls_at_the_same_time_are_all_stored(tmp_path: Path) -> None:
    live = RecordingChat(Scripted(*(reply(str(i)) for i in range(20))), tmp_path)
    await asyncio.gather(*(live.ask(REQUEST, 1.0) for _ in range(20)))
    replay = ReplayChat(tmp_path)
    assert sorted([int((await outcome(replay))[0]) for _ in range(20)]) == list(range(20))


async def test_a_folder_that_cannot_be_written_costs_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    live = RecordingChat(Scripted(reply("x")), tmp_path / "file" / "recordings")
    assert (await live.ask(REQUEST, 1.0)).text == "x"
    assert "not recorded" in caplog.text


async def test_text_without_an_encoding_costs_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert (await RecordingChat(Scripted(reply("\ud83d")), tmp_path).ask(REQUEST, 1.0)).text == "\ud83d"
    assert "not recorded" in caplog.text
    assert not list(tmp_path.iterdir())  # noqa: ASYNC240


async def test_a_damaged_recording_is_none(tmp_path: Path) -> None:
    recording_path(tmp_path, REQUEST).write_text('{"hash": ')
    with pytest.raises(ChatUnavailable, match="not recorded"):
        await ReplayChat(tmp_path).ask(REQUEST, 1.0)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("1e9", 3600.0),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 60.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Thu, 99 Jan 1970", None),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(header: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": header}, wall_s=40.0) == seconds
    assert retry_after_s({}) is None


async def test_only_the_newest_files_are_kept(tmp_path: Path) -> None:
    for i in range(6):
        path = tmp_path / f"planner-{i}.json"
        path.write_text("{}")
        os.utime(path, (i, i))
    prune(tmp_path, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["planner-4.json", "planner-5.json"]  # noqa: ASYNC240


async def test_a_reply_heard_too_late_is_kept_and_replays_as_none(tmp_path: Path) -> None:
    live = RecordingChat(Scripted(reply("late"), reply("in time")), tmp_path)
    async with live._writing:  # the disk is busy
        task = asyncio.create_task(live.ask(REQUEST, 1.0))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await live.ask(REQUEST, 1.0)
    await live.aclose()
    again = ReplayChat(tmp_path)
    with pytest.raises(TimeoutError):
        await again.ask(REQUEST, 1.0)
    assert (await again.ask(REQUEST, 1.0)).text == "in time"
    assert '"late"' in recording_path(tmp_path, REQUEST).read_text()


async def test_a_call_that_was_given_up_replays_as_given_up(tmp_path: Path) -> None:
    class Hung(Scripted):
        async def ask(self, request: ChatRequest, timeout_s: float) -> ChatReply:
            await asyncio.sleep(60)
            raise AssertionError

    live = RecordingChat(Hung(), tmp_path)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await live.ask(REQUEST, 1.0)
    await live.aclose()
    with pytest.raises(TimeoutError):
        await ReplayChat(tmp_path).ask(REQUEST, 1.0)
