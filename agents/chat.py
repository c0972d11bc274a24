"""The door to a language model: any OpenAI-compatible endpoint, through langchain-openai.

Everything that is not an answer becomes ChatUnavailable: refused connections, error statuses, HTML with status 200,
silence, a drip slower than the deadline, more bytes than any answer has. Retries are the ladder's business, not the
client's; the only repeat here is without the options that a server says it does not know.
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
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from agents.quiet import no_tracing
from agents.retry_after import retry_after_s
from edgewise.control.ports import ChatReply, ChatRequest
from edgewise.domain.errors import BadInput, ChatUnavailable

MAX_REPLY_BYTES = 4 * 1024 * 1024
# What a server may reject by name; tried in this order when it does not say which.
_OPTIONAL = ("response_format", "temperature", "max_tokens")
_BAD_REQUEST = (400, 422)
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
        # Our own client: the library's is shared by all event loops of the process, and never closed.
        self._http = httpx.AsyncClient(
            timeout=None,  # the deadline of `ask` rules
            event_hooks={"response": [_cap]},
            headers={"accept-encoding": "identity"},
            trust_env=parts.hostname not in _HERE,  # a proxy of the environment cannot reach this machine's own
        )

    async def ask(self, request: ChatRequest, timeout_s: float) -> ChatReply:
        """One answer within `timeout_s` seconds, or ChatUnavailable."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                message = await self._answer(request)
                return _reply(message, request, time.monotonic() - began)
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
        model = self._set_model or self._found_model or await self._first_model()
        rejected: set[str] = set()
        while True:
            options = _options(request, self._unknown | rejected)
            try:
                message = await self._client(model, options).ainvoke(
                    [("system", request.system), ("user", request.user)], config={"callbacks": []}
                )
            except openai.APIStatusError as error:
                name = _rejected(error, options)
                if name is None:
                    raise
                rejected.add(name)
            else:
                # Only now is it known that the option was to blame.
                self._unknown |= rejected
                return message

    def _client(self, model: str, options: Mapping[str, Any]) -> ChatOpenAI:
        return ChatOpenAI(
            model=model,
            base_url=self._url,
            api_key=SecretStr(self._key),
            http_async_client=self._http,
            openai_proxy="",
            max_retries=0,
            timeout=None,
            disable_streaming=True,
            use_responses_api=False,
            extra_body=options,
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

    def _unavailable(self, message: str, wait_s: float | None = None) -> ChatUnavailable:
        return ChatUnavailable(
            message, where=self._url, hint="is it an OpenAI-compatible endpoint?", retry_after_s=wait_s
        )


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


def _options(request: ChatRequest, unknown: set[str]) -> dict[str, Any]:
    """The body's optional fields, without those the server does not take. Newer OpenAI models know the token
    limit only as max_completion_tokens, most other servers only as max_tokens."""
    limit = "max_completion_tokens" if "max_tokens" in unknown else "max_tokens"
    options: dict[str, Any] = {"temperature": request.temperature, limit: request.max_tokens}
    if request.schema is not None:
        schema = {"name": "answer", "strict": True, "schema": request.schema}
        options["response_format"] = {"type": "json_schema", "json_schema": schema}
    return {name: value for name, value in options.items() if name not in unknown}


def _rejected(error: openai.APIStatusError, options: Mapping[str, Any]) -> str | None:
    """The option to leave out after a rejection: the one the server names, else the likeliest; None to give up."""
    if error.status_code not in _BAD_REQUEST:
        return None
    present = [name for name in _OPTIONAL if name in options]
    named = [name for name in present if name in error.message]
    likeliest = present[:1] if present[:1] == ["response_format"] else []
    return next(iter(named + likeliest), None)


def _reply(message: AIMessage, request: ChatRequest, seconds: float) -> ChatReply:
    text = str(message.text)
    finish = str(message.response_metadata.get("finish_reason") or "")
    refusal = message.additional_kwargs.get("refusal")
    if not text and refusal:
        text, finish = str(refusal), "refusal"
    return ChatReply(_sound(text), _sound(finish), _tokens(message, request), seconds)


def _tokens(message: AIMessage, request: ChatRequest) -> int:
    """Tokens of prompt and answer by the server's word; estimated at four characters each when it says nothing,
    so that a budget is never spent for free."""
    usage = message.usage_metadata
    if usage and usage["total_tokens"] > 0:
        return int(usage["total_tokens"])
    return (len(request.system) + len(request.user) + len(message.text) + 3) // 4


def _line(text: str) -> str:
    return " ".join(_sound(text).split())[:200]


def _sound(text: str) -> str:
    """Text that can be stored: JSON may smuggle in half a surrogate pair, which no encoding takes."""
    return text.encode("utf-8", "replace").decode("utf-8")
