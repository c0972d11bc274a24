"""The fork server: one process that has imported the model libraries, and forks a node process per command.

`python -m serving.forkserver [--threads N]` reads commands, one JSON object per line, on stdin and writes events
on stdout (see `serving.fork_client`, its only user):

    {"cmd": "spawn", "config": {NodeConfig}}   → {"event": "spawned", "node", "pid", "port"} | {"event": "refused", …}
    {"cmd": "tiny", "folder": "…"}             → {"event": "made", "folder"} | {"event": "refused", …}
    {"cmd": "stop"}, or end of stdin           → children are ended, then this process
    (a child ended)                            → {"event": "exited", "node", "pid", "signal", "code"}

It runs no model and has one thread: what is forked from it is clean, and its pages stay shared. Children die
with it, and it dies with the process that started it.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from setproctitle import setproctitle

from edgewise.domain.codec import from_plain
from edgewise.domain.errors import BadInput, EdgewiseError, SetupError
from serving.engines.runtime import set_environment
from serving.node.config import NodeConfig

PR_SET_PDEATHSIG = 1
STOP_S = 4.0  # children are killed when they have not ended by then
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int, sig: signal.Signals) -> None:
    """Have the kernel send `sig` to this process when its parent ends; leave at once if it has already."""
    _libc.prctl(PR_SET_PDEATHSIG, int(sig))
    if os.getppid() != parent:
        os._exit(1)


class ForkServer:
    """The loop over stdin and the deaths of children."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._children: dict[int, tuple[str, Callable[[int], None]]] = {}  # pid → name, what to do at its end
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._stopping = False
        self._buffer = b""

    def run(self) -> None:
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, self._on_stop)
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            while not self._stopping:
                ready = {key.fd for key, _ in selector.select()}
                if self._wake_read in ready:
                    _drain(self._wake_read)
                self._reap()
                if 0 in ready:
                    self._read()
        self._end_children()

    def _on_stop(self, *_: object) -> None:
        self._stopping = True

    def _read(self) -> None:
        data = os.read(0, 1 << 16)
        if not data:
            self._stopping = True
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._command(json.loads(line))

    def _command(self, command: dict[str, Any]) -> None:
        match command:
            case {"cmd": "spawn", "config": config}:
                self._spawn(config)
            case {"cmd": "tiny", "folder": str(folder)}:
                self._tiny(folder)
            case {"cmd": "stop"}:
                self._stopping = True
            case _:
                say(event="refused", node="", message=f"unknown command {command.get('cmd')!r}", hint="")

    def _spawn(self, plain: dict[str, Any]) -> None:
        from serving.node.server import bind, run_node

        name = str(plain.get("node", {}).get("id", ""))
        try:
            config = from_plain(NodeConfig, plain)
            sock = _bind_or_any(bind, config)
        except EdgewiseError as error:
            say(event="refused", node=name, message=error.line(), hint=error.hint)
            return

        def exited(status: int) -> None:
            code = os.waitstatus_to_exitcode(status)
            say(event="exited", node=name, pid=pid, signal=max(0, -code), code=max(0, code))

        pid = self._fork(name, lambda: run_node(config, sock), exited)
        say(event="spawned", node=name, pid=pid, port=sock.getsockname()[1])
        sock.close()

    def _tiny(self, folder: str) -> None:
        from serving.tiny import make_tiny

        def run() -> int:
            setproctitle("edgewise: tiny checkpoints")
            make_tiny(Path(folder))
            return 0

        def exited(status: int) -> None:
            if os.waitstatus_to_exitcode(status) == 0:
                say(event="made", folder=folder)
            else:
                hint = "free some disk space (30 MiB), or choose another folder"
                say(
                    event="refused",
                    node=folder,
                    message=f"{folder}: the tiny checkpoints could not be made",
                    hint=hint,
                )

        self._fork(folder, run, exited)

    def _fork(self, name: str, run: Callable[[], int], exited: Callable[[int], None]) -> int:
        pid = os.fork()
        if pid == 0:
            self._be_child(run)
        self._children[pid] = (name, exited)
        return pid

    def _be_child(self, run: Callable[[], int]) -> None:
        code = 1
        try:
            die_with_parent(self._pid, signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            for sig in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(sig, signal.SIG_DFL)
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.dup2(2, 1)  # stdout speaks the parent's protocol
            for fd in (null, self._wake_read, self._wake_write):
                os.close(fd)
            code = run()
        except EdgewiseError as error:
            sys.stderr.write(f"{error.line()}\n")
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)  # threads in the middle of a step are not waited for

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            _, exited = self._children.pop(pid)
            exited(status)

    def _end_children(self) -> None:
        for pid in self._children:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while self._children and time.monotonic() < deadline:
            time.sleep(0.02)
            self._reap()
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        while self._children:
            time.sleep(0.02)
            self._reap()


def say(**event: object) -> None:
    try:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        pass  # whoever listened has gone; the end of stdin says so too


def _bind_or_any(bind: Callable[[str, int], socket.socket], config: NodeConfig) -> socket.socket:
    # A node that comes back should be where it was, but connections of its old life may still hold the port.
    try:
        return bind(config.host, config.port)
    except SetupError:
        if config.port == 0:
            raise
        return bind(config.host, 0)


def _drain(fd: int) -> None:
    while True:
        try:
            if not os.read(fd, 512):
                return
        except BlockingIOError:
            return


def warm_up() -> float:
    """Import all that a node needs; returns the seconds it took. Starts no thread and runs no model."""
    began = time.monotonic()
    import uvicorn.loops.uvloop
    import uvicorn.protocols.http.httptools_impl  # noqa: F401

    import serving.node.server
    import serving.tiny  # noqa: F401
    from edgewise.domain.codec import adapter
    from edgewise.policy.share import precompile
    from serving.engines.libraries import import_libraries

    import_libraries()
    precompile()
    adapter(NodeConfig)
    # Collected objects would leave holes that children write into; frozen ones are never visited again.
    gc.collect()
    gc.freeze()
    return time.monotonic() - began


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m serving.forkserver", description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="OpenMP threads of each node (default 1)")
    options = parser.parse_args(arguments)
    die_with_parent(os.getppid(), signal.SIGTERM)
    setproctitle("edgewise: fork server")
    set_environment(options.threads)
    try:
        if options.threads < 1:
            raise BadInput("--threads must be at least 1")
        seconds = warm_up()
    except EdgewiseError as error:
        sys.stderr.write(f"{error.line()}\n")
        return error.exit_code
    say(event="ready", pid=os.getpid(), import_s=round(seconds, 3))
    ForkServer().run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
