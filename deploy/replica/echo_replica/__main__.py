"""python3 -m echo_replica: reads EDGEWISE_REPLICA, serves until SIGTERM, then lets prompts in flight finish.

EDGEWISE_REPLICA is JSON: {"node", "model": a catalogue entry}, optionally "host", "port", "grace_s", "share",
"origin" (monotonic second of the run's start) and "exit_when_failed" (a path: a load that fails is written there as
the pod's last word, and ends the process). A checkpoint named by an absolute path must exist, or the load fails.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from echo_replica.life import Replica
from echo_replica.server import Server, Site


def main() -> int:
    try:
        given = json.loads(os.environ["EDGEWISE_REPLICA"])
        model = given["model"]
        replica = Replica(
            model["id"],
            float(model.get("load_s", 1.0)),
            int(model.get("max_concurrency", 1)),
            float(model.get("mean_service_s", 1.0)),
            _missing(str(model.get("checkpoint", ""))),
        )
        replica.share = float(given.get("share", 1.0))
        origin = float(given.get("origin", time.monotonic()))
        site = Site(given["node"], float(model["memory_gib"]), origin, replica)
        address = (str(given.get("host", "0.0.0.0")), int(given.get("port", 8080)))
        grace_s = float(given.get("grace_s", 30.0))
        last_word = str(given.get("exit_when_failed", ""))
    except (KeyError, ValueError, TypeError) as error:
        sys.stderr.write(f"EDGEWISE_REPLICA: {type(error).__name__}: {error}\n")
        return 2
    try:
        server = Server(address, site)
    except OSError as error:
        sys.stderr.write(f"cannot listen on {address[0]}:{address[1]}: {error.strerror}\n")
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    replica.load()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stderr.write(f"echo replica of {replica.model} on {site.node}, port {server.server_address[1]}\n")
    sys.stderr.flush()
    while not stop.wait(0.5):
        if last_word and replica.state == "failed":
            sys.stderr.write(f"the load failed: {replica.error}\n")
            Path(last_word).write_text(replica.error, encoding="utf-8")
            return 1
    # The listener stays up while in-flight prompts finish, so that newcomers are handed back, not cut.
    finished = replica.stop(grace_s)
    time.sleep(0.05)  # the last answer is written after its prompt has left the count
    server.shutdown()
    server.server_close()
    return 0 if finished else 1


def _missing(checkpoint: str) -> str:
    """Why this checkpoint cannot be loaded, "" when nothing speaks against it."""
    path = Path(checkpoint)
    return f"no checkpoint at {path}" if path.is_absolute() and not path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
