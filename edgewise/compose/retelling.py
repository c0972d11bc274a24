"""What agents heard in a decision, told again in other words: for capsules, whose redacted decisions ask otherwise.

Answers are found by the hash of what was asked, and a redacted observation asks something else. So the decision is
made again twice: once to hear what was answered, once redacted, with the answers handed over in turn and recorded
under what is asked then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from agents.recordings import Call, Failure, Recording, end_of, input_hash
from agents.tool_recordings import ToolRecord, ToolsDoor, call_hash, state_hash
from agents.toolbox import ToolAnswer, Tools
from edgewise.compose.redact import Scrub, redacted
from edgewise.control.ports import ChatModel, ChatReply, ChatRequest, ToolCall, ToolSpec
from edgewise.control.state import EpochResult, Job
from edgewise.domain.codec import from_plain, to_plain
from edgewise.domain.errors import ChatUnavailable
from graphs.proposing import Heard
from graphs.replay import ReplayTools, Thread, run_again

T = TypeVar("T")
_Known = Callable[[ToolCall], ToolAnswer | None]


@dataclass(frozen=True, slots=True)
class Told:
    recordings: tuple[Recording, ...]
    tools: tuple[ToolRecord, ...]
    promql: bool


async def retold(heard: Heard, threads: Iterable[tuple[Thread, Thread]], scrub: Scrub) -> Told:
    """What was heard in the first thread of each pair, under what the second, redacted, asks."""
    recordings: dict[str, Recording] = {}
    tools: dict[str, ToolRecord] = {}
    for thread, again in threads:
        said = _Said()
        spying = Heard(_Spy(heard.chat, said), _spying(heard.tools, said), heard.promql)
        await run_again(thread, ReplayTools(thread, thread.settings(), spying))
        told = _Retelling(said.scrubbed(scrub))
        await run_again(again, ReplayTools(again, again.settings(), Heard(told, told.tools, heard.promql)))
        for r in told.recordings:
            before = recordings.get(r.hash)
            recordings[r.hash] = Recording(r.hash, r.request, (*(before.calls if before else ()), *r.calls))
        tools |= {r.hash: r for r in told.records}
    return Told(tuple(recordings.values()), tuple(tools.values()), heard.promql)


class CapsuleChat:
    """Implements ports.ChatModel from the recordings of a capsule, as ReplayChat does from a folder."""

    def __init__(self, recordings: Sequence[Recording]) -> None:
        self._calls = {r.hash: list(r.calls) for r in recordings}

    async def ask(self, request: ChatRequest, timeout_s: float) -> ChatReply:
        calls = self._calls.get(input_hash(request))
        if not calls:
            raise ChatUnavailable("this call was not recorded")
        return end_of(calls.pop(0) if len(calls) > 1 else calls[0])

    async def aclose(self) -> None:
        """Nothing to close."""


def capsule_tools(records: Sequence[ToolRecord]) -> ToolsDoor:
    """Tools that answer from a capsule; what is not in it is asked of the tools themselves."""
    known = {r.hash: r.answer for r in records}

    def door(inner: Tools, job: Job, result: EpochResult) -> Tools:
        state = state_hash(job, result)
        return _Wrapped(inner, lambda call: known.get(call_hash(state, call)))

    return door


@dataclass
class _Said:
    """Ends of calls by the request's key, answers of tools by their name, in the order they came."""

    chat: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    tools: dict[str, list[ToolAnswer]] = field(default_factory=lambda: defaultdict(list))

    def scrubbed(self, scrub: Scrub) -> _Said:
        return _Said(_scrubbed(Call, self.chat, scrub), _scrubbed(ToolAnswer, self.tools, scrub))


def _scrubbed(kind: type[T], lists: Mapping[str, Sequence[T]], scrub: Scrub) -> dict[str, list[T]]:
    return {key: [from_plain(kind, redacted(to_plain(x), scrub)) for x in items] for key, items in lists.items()}


class _Spy:
    """Hears what another model is asked and how it ends."""

    def __init__(self, inner: ChatModel | None, said: _Said) -> None:
        self._inner, self._said = inner, said

    async def ask(self, request: ChatRequest, timeout_s: float) -> ChatReply:
        if self._inner is None:
            raise ChatUnavailable("there is no language model")
        try:
            reply = await self._inner.ask(request, timeout_s)
        except ChatUnavailable as error:
            failure = Failure(error.message, error.retry_after_s, error.asked)
            self._said.chat[request.key].append(Call(failure=failure))
            raise
        except TimeoutError:
            self._said.chat[request.key].append(Call(failure=Failure("no answer"), late=True))
            raise
        self._said.chat[request.key].append(Call(reply=reply))
        return reply

    async def aclose(self) -> None:
        """Nothing of ours to close."""


def _spying(door: ToolsDoor | None, said: _Said) -> ToolsDoor:
    def spy(inner: Tools, job: Job, result: EpochResult) -> Tools:
        return _Listening(door(inner, job, result) if door is not None else inner, said)

    return spy


class _Listening:
    def __init__(self, inner: Tools, said: _Said) -> None:
        self._inner, self._said = inner, said

    @property
    def specs(self) -> Sequence[ToolSpec]:
        return self._inner.specs

    async def call(self, call: ToolCall) -> ToolAnswer:
        answer = await self._inner.call(call)
        self._said.tools[call.name].append(answer)
        return answer


class _Retelling:
    """Answers each key's requests, and each tool's calls, in turn with what was heard; records what is asked now."""

    def __init__(self, said: _Said) -> None:
        self._said = said
        self.recordings: list[Recording] = []
        self.records: list[ToolRecord] = []

    async def ask(self, request: ChatRequest, timeout_s: float) -> ChatReply:
        calls = self._said.chat.get(request.key)
        if not calls:
            raise ChatUnavailable("this call was not recorded")
        call = calls.pop(0)
        self.recordings.append(Recording(input_hash(request), request, (call,)))
        return end_of(call)

    async def aclose(self) -> None:
        """Nothing to close."""

    def tools(self, inner: Tools, job: Job, result: EpochResult) -> Tools:
        state = state_hash(job, result)

        def answer(call: ToolCall) -> ToolAnswer | None:
            answers = self._said.tools.get(call.name)
            if not answers:
                return None
            found, name = answers.pop(0), call_hash(state, call)
            self.records.append(ToolRecord(name, call.name, call.arguments, state, found))
            return found

        return _Wrapped(inner, answer)


class _Wrapped:
    """Tools of which `known` answers first."""

    def __init__(self, inner: Tools, known: _Known) -> None:
        self._inner, self._known = inner, known

    @property
    def specs(self) -> Sequence[ToolSpec]:
        return self._inner.specs

    async def call(self, call: ToolCall) -> ToolAnswer:
        found = self._known(call)
        return found if found is not None else await self._inner.call(call)
