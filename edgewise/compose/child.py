"""Entry of a child process: `python -m edgewise.compose.child ROLE PARENT_PID`, see `children`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

import orjson

from edgewise.domain.errors import EdgewiseError
from edgewise.policy.kernel import use_kernel_cache
from tools.process import die_with_parent


def say(answer: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
    sys.stdout.buffer.flush()


def starter(role: str) -> Callable[[bytes, Callable[[dict[str, Any]], None]], None]:
    """The function that is the part; importing it is most of a part's start."""
    if role == "gateway":
        from edgewise.compose.gateway import start_gateway

        return start_gateway
    from edgewise.compose.control import start_control

    return start_control


def main() -> int:
    role, parent = sys.argv[1], int(sys.argv[2])
    die_with_parent(parent)
    use_kernel_cache()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Foreign chatter at INFO (one line per HTTP request) would drown our own.
    for noisy in ("httpx", "httpcore", "chromadb", "aiosqlite", "pymongo", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        start = starter(role)
        config = sys.stdin.buffer.readline()
        if not config:
            return 0  # the parent gave up before it configured us
        start(config, lambda ready: say({"ready": ready}))
    except EdgewiseError as error:
        say(error.as_dict())
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
