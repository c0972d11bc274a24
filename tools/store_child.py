"""The embedded store as a child process: nx-27017 (MongoDB's wire protocol on SQLite) under our title.

`python -m tools.store_child PARENT_PID ARGS…`; ARGS go to nx-27017 as they are.
"""

from __future__ import annotations

import sys

import setproctitle

from tools.process import die_with_parent


def main() -> None:
    die_with_parent(int(sys.argv[1]))
    setproctitle.setproctitle("edgewise: store")
    sys.argv = ["nx-27017", *sys.argv[2:]]
    from nx_27017.nx_27017 import main as serve

    sys.exit(serve())


if __name__ == "__main__":
    main()
