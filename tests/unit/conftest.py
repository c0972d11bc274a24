"""Unit tests cannot reach network, cluster, hub or language model: the doors raise."""

from __future__ import annotations

import socket
import subprocess
from typing import Any, NoReturn

import pytest


class DoorOpenedError(AssertionError):
    """A unit test tried to reach the outside world."""


def _shut(what: str) -> Any:
    def refuse(*_args: Any, **_kwargs: Any) -> NoReturn:
        raise DoorOpenedError(f"unit tests may not open {what}")

    return refuse


@pytest.fixture(autouse=True)
def shut_doors(monkeypatch: pytest.MonkeyPatch) -> None:
    # An event loop needs its own socketpair, so connect and listen are shut rather than the socket itself.
    monkeypatch.setattr(socket.socket, "connect", _shut("a connection"))
    monkeypatch.setattr(socket.socket, "connect_ex", _shut("a connection"))
    monkeypatch.setattr(socket.socket, "listen", _shut("a listening socket"))
    monkeypatch.setattr(socket, "create_connection", _shut("a connection"))
    monkeypatch.setattr(socket, "getaddrinfo", _shut("a name look-up"))
    monkeypatch.setattr(subprocess.Popen, "__init__", _shut("a process"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("KUBECONFIG", raising=False)
