"""The door to a language model: any OpenAI-compatible endpoint, through langchain-openai.

Everything that is not an answer becomes ChatUnavailable: refused connections, error statuses, HTML with status 200,
silence, a drip slower than the deadline, more bytes than any answer has. Retries are the ladder's business, not the
client's; the only repeat here is without the options that a server says it does not know: tools, a response format,
turns of tools (told as text then), temperature, the token limit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatResult
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from agents.quiet import no_tracing
from agents.retry_after import retry_after_s
from agents.wire import messages, options, readable, rejected, reply_of, sound
from edgewise.control.ports import ChatReply, ChatRequest
from edgewise.domain.errors import BadInput, ChatUnavailable

MAX_REPLY_BYTES = 4 * 1024 * 1024
_HERE = ("localhost", "127.0.0.1", "::1")


class OpenAIChat:
    """Implements ports.ChatModel. `base_url` ends in /v1; `model` empty: the first that /models lists."""

    def __init__(self, base_url: str, model: str = "", api_key: str = "none") -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadInput(
                f"not an HTTP address: {base_url!r}", where="llm_url", hint="such as http://127.0.0.1:8000/v1"
            )
        no_tracing()
        self._url = base_url.rstrip("/")
        self._set_model, self._found_model = model, ""
        self._key = api_key or "none"
        self._unknown: set[str] = set()  # options this server has rejected
        self._rests_until = 0.0  # on the monotonic clock: the server has asked for so long a wait
        # Our own client: the library's is shared by all event loops of the process, and never closed.
        self._http = httpx.AsyncClient(
            timeout=None,  # the deadline of `ask` rules
            event_hooks={"response": [_cap]},
            headers={"accept-encoding": "identity"},
            trust_env=parts.hostname not in _HERE,  # a proxy of the environment cannot reach this machine's own
        )

    async def ask(self, request: ChatRequest, timeout_s: float) -> ChatReply:
        """One answer within `timeout_s` seconds, or ChatUnavailable; at once while the server's Retry-After lasts."""
        began = time.monotonic()
        if (rest_s := self._rests_until - began) > 0:
            raise self._unavailable(f"the server has asked for a wait, {rest_s:.0f} s more", rest_s, asked=False)
        try:
            async with asyncio.timeout(timeout_s):
                message = await self._answer(request)
                return reply_of(message, request, time.monotonic() - began)
        except ChatUnavailable:
            raise
        except TimeoutError as error:
            raise self._unavailable(f"no answer within {timeout_s:.3g} s") from error
        except openai.APIStatusError as error:
            self._found_model = ""  # it may be gone; ask for the list again
            status = f"status {error.status_code}: {_line(error.message)}"
            raise self._unavailable(status, retry_after_s(error.response.headers)) from error
        except (openai.APIConnectionError, httpx.HTTPError, OSError) as error:
            cause = error.__cause__ or error
            raise self._unavailable(f"{type(cause).__name__}: {_line(str(cause))}") from error
        except Exception as error:  # the client libraries raise anything (AttributeError on HTML) on a non-answer
            raise self._unavailable(f"not a chat completion ({type(error).__name__}: {_line(str(error))})") from error

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _answer(self, request: ChatRequest) -> AIMessage:
        model = request.model or self._set_model or self._found_model or await self._first_model()
        left_out: set[str] = set()
        while True:
            now = self._unknown | left_out
            sent = options(request, now)
            try:
                message = await self._client(model, sent).ainvoke(messages(request, now), config={"callbacks": []})
            except openai.APIStatusError as error:
                name = rejected(error.status_code, error.message, request, sent, now)
                if not name:
                    raise
                left_out.add(name)
            else:
                # Only now is it known that the option was to blame.
                self._unknown |= left_out
                return message

    def _client(self, model: str, body: Mapping[str, Any]) -> ChatOpenAI:
        return _Client(
            model=model,
            base_url=self._url,
            api_key=SecretStr(self._key),
            http_async_client=self._http,
            openai_proxy="",
            max_retries=0,
            timeout=None,
            disable_streaming=True,
            use_responses_api=False,
            extra_body=body,
        )

    async def _first_model(self) -> str:
        response = await self._http.get(f"{self._url}/models", headers={"authorization": f"Bearer {self._key}"})
        if response.status_code != 200:
            wait_s = retry_after_s(response.headers)
            raise self._unavailable(f"/models answered with status {response.status_code}", wait_s)
        try:
            found = str(response.json()["data"][0]["id"])
        except (ValueError, LookupError, TypeError) as error:
            raise self._unavailable("/models lists no model") from error
        self._found_model = found
        return found

    def _unavailable(self, message: str, wait_s: float | None = None, *, asked: bool = True) -> ChatUnavailable:
        if asked and wait_s:
            self._rests_until = time.monotonic() + wait_s
        return ChatUnavailable(
            message, where=self._url, hint="is it an OpenAI-compatible endpoint?", retry_after_s=wait_s, asked=asked
        )


class _Client(ChatOpenAI):
    """The library refuses a whole answer when a call's arguments are JSON but no object; here only that call is."""

    def _create_chat_result(self, response: Any, *args: Any, **kwargs: Any) -> ChatResult:
        for choice in getattr(response, "choices", None) or ():
            for call in getattr(choice.message, "tool_calls", None) or ():
                call.function.arguments = readable(call.function.arguments)
        return super()._create_chat_result(response, *args, **kwargs)


class _Capped(httpx.AsyncByteStream):
    """A response body that ends with an error when it grows beyond MAX_REPLY_BYTES."""

    def __init__(self, inner: httpx.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        async for chunk in self._inner:
            seen += len(chunk)
            if seen > MAX_REPLY_BYTES:
                raise httpx.ReadError(f"the reply is larger than {MAX_REPLY_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _cap(response: httpx.Response) -> None:
    if isinstance(response.stream, httpx.AsyncByteStream):
        response.stream = _Capped(response.stream)


def _line(text: str) -> str:
    return " ".join(sound(text).split())[:200]
