"""Processes of a run: a role in the title, death with the parent, free ports."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
from asyncio.subprocess import Process
from typing import Any

from edgewise.domain.errors import BadInput

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int, sig: signal.Signals = signal.SIGTERM) -> None:
    """Ask the kernel to send `sig` to this process when its parent dies. Linux only; elsewhere it does nothing.
    `parent_pid` closes the race: a parent that died before this call is noticed and we leave at once."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, int(sig), 0, 0, 0)
    except (OSError, AttributeError):
        return
    if os.getppid() != parent_pid:
        os._exit(1)


def free_port(host: str = "127.0.0.1") -> int:
    """A port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def require_free(host: str, port: int) -> None:
    """Raise BadInput when somebody listens on the port already. Port 0 (any) is always free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise BadInput(
                f"not allowed to listen on port {port}", where=host, hint="choose a port above 1023 with --port"
            ) from error
        except OSError as error:
            raise BadInput(
                f"port {port} is in use", where=host, hint="choose another with --port, or stop what listens there"
            ) from error
        except OverflowError as error:
            raise BadInput(f"{port} is not a port", hint="ports are 1 to 65535") from error


async def start_process(*command: str, **options: Any) -> Process:
    """`asyncio.create_subprocess_exec` that leaves nothing behind when it is cancelled half-way. The child may die
    with the calling thread, so call it from a thread that stays."""
    starting = asyncio.ensure_future(asyncio.create_subprocess_exec(*command, **options))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        process = await starting
        process.kill()
        await process.wait()
        raise
