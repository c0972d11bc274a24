"""No tracing to outside: a variable is enough to make LangChain and LangGraph send prompts and answers away."""

from __future__ import annotations

import os

import langsmith
from langsmith.utils import get_env_var

_SWITCHES = ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING", "LANGCHAIN_TRACING_V2")


def no_tracing() -> None:
    """Switches every kind of LangSmith tracing off, for this process and its children, whatever was set before."""
    for name in _SWITCHES:
        os.environ[name] = "false"
    os.environ.pop("LANGCHAIN_HANDLER", None)
    get_env_var.cache_clear()  # type: ignore[attr-defined]  # an lru_cache behind overloads
    langsmith.configure(enabled=False)
