"""Entry of the dashboard's process: `python -m ui.child PARENT_PID STREAMLIT_ARGS…`, see `launch`."""

from __future__ import annotations

import sys

from tools.process import die_with_parent


def main() -> None:
    die_with_parent(int(sys.argv[1]))
    import setproctitle
    from streamlit.web import cli

    sys.argv = ["streamlit", *sys.argv[2:]]
    setproctitle.setproctitle("edgewise: ui")
    cli.main(prog_name="streamlit")


if __name__ == "__main__":
    main()
