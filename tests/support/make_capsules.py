"""Writes the capsules under tests/golden/capsules, from generated demand: run it when decisions are meant to change.

python -m tests.support.make_capsules
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from edgewise.policy.kernel import use_kernel_cache

FOLDER = Path(__file__).parents[1] / "golden" / "capsules"
SLOTS = {"shift": 9, "node-lost": 11}
ASKED = {"language-model": 7}  # of a run whose planner asked one


def main() -> None:
    use_kernel_cache()
    from edgewise.compose.capsule import make_capsule, write_capsule
    from edgewise.compose.recorded import open_recorded
    from tests.support.moody import Moody
    from tests.support.recorded_run import recorded_run

    with tempfile.TemporaryDirectory() as folder:
        for slots, chat in ((SLOTS, None), (ASKED, Moody())):
            run = recorded_run(Path(folder) / next(iter(slots)), slots=14, chat=chat)
            recorded = open_recorded(run)
            for name, slot in slots.items():
                made, found = make_capsule(recorded, slot)
                if found.different:
                    raise SystemExit(f"{name}: {found.different[0].diff}")
                write_capsule(made, FOLDER / f"{name}.json.gz")


if __name__ == "__main__":
    main()
