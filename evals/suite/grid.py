"""What is to be run: every policy on every seed, and the key under which a finished run is kept."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from edgewise.domain.errors import BadInput
from edgewise.settings import load_settings
from evals.scenario import Scenario
from evals.scenario_file import to_yaml
from evals.sources import trace_source
from evals.traces import nearest

BOUND = ""  # stands for a policy where the lower bound and the card of a seed are reckoned
BASELINE_OF_ALL = "clairvoyant"
LONG = ("edgewise", BASELINE_OF_ALL)  # these plan, which takes most of an evaluation
# What a run's result depends on. Of this suite only what boils a run down; how it is shown changes no result.
_CODE = (
    "edgewise/domain", "edgewise/policy", "edgewise/twin", "edgewise/optimise", "edgewise/control",
    "edgewise/settings.py", "evals",
)  # fmt: skip
_SHOWN_ONLY = ("evals/scenarios", "evals/suite", "evals/fidelity")
_SUITE_CODE = (
    "bounds.py", "bound_kernels.py", "bound_world.py", "price_kernels.py", "digest.py", "events.py", "runner.py",
    "grid.py", "variants.py",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """One run: a policy (BOUND: the lower bound and the card) on one seed."""

    policy: str
    seed: int
    key: str

    def __str__(self) -> str:
        return f"{self.policy or 'lower bound'}, seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Grid:
    """The runs of one scenario. Seeds count up from the scenario's; each policy meets the same prompts on a seed."""

    scenario: Scenario
    policies: tuple[str, ...]
    seeds: tuple[int, ...]

    @staticmethod
    def of(scenario: Scenario, policies: Sequence[str], seeds: int) -> Grid:
        """Raises BadInput for less than one seed, or no policies."""
        if seeds < 1:
            raise BadInput(f"--seeds {seeds}: at least 1")
        if not policies:
            raise BadInput("--policies names none")
        first = scenario.seed
        return Grid(scenario, tuple(dict.fromkeys(policies)), tuple(range(first, first + seeds)))

    def cells(self, code: str) -> tuple[Cell, ...]:
        """All runs, seed by seed, so that an eval that is cut off has whole seeds; of a seed the long ones first, so
        that no worker is left alone with one. code: see code_digest()."""
        world = scenario_digest(self.scenario)
        ordered = sorted((BOUND, *self.policies), key=lambda p: not p.startswith(LONG))
        return tuple(Cell(p, s, _digest(world, code, p, str(s))[:24]) for s in self.seeds for p in ordered)


def known_policies(asked: str | None, known: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
    """The policies of a comma-separated list, in its order; None: the default ones.
    Raises BadInput, with the nearest known name, for one that is not known."""
    if asked is None:
        return tuple(default)
    names = [name.strip() for name in asked.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise BadInput(f"unknown policy {name!r}", where="--policies", hint=nearest(name, known))
    if not names:
        raise BadInput("--policies names none", hint=f"known: {', '.join(known)}")
    return tuple(dict.fromkeys(names))


def scenario_digest(scenario: Scenario) -> str:
    """Of everything the prompts and the cluster come from: the scenario as written out, and its trace files (name,
    size and time of change: reading a large one takes longer than a run)."""
    parts = [to_yaml(scenario)]
    for entry in scenario.workload.traces:
        source = trace_source(entry)
        found = source.file.stat()
        parts.append(f"{source.file.name} {found.st_size} {found.st_mtime_ns}")
    return _digest(*parts)


@cache
def code_digest() -> str:
    """Of the sources that a result depends on, the settings, the versions of what they stand on: 12 hex digits."""
    root = Path(__file__).resolve().parents[2]
    state = hashlib.blake2b(digest_size=6)
    for file in sorted(_sources(root)):
        state.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes() + b"\0")
    state.update(load_settings().model_dump_json(exclude={"llm_api_key"}).encode())
    for name in ("numpy", "numba", "scipy"):
        state.update(f"{name} {version(name)}\0".encode())
    state.update(f"{sys.version_info[:2]}".encode())
    return state.hexdigest()


def _sources(root: Path) -> Iterable[Path]:
    """Python and whatever data lies beside it (a checkpoint decides, too)."""
    for place in _CODE:
        start = root / place
        for file in [start] if start.is_file() else start.rglob("*"):
            name = file.relative_to(root).as_posix()
            if not file.is_file() or "__pycache__" in name or file.name == "py.typed":
                continue
            if not name.startswith(_SHOWN_ONLY):
                yield file
    yield from (root / "evals" / "suite" / name for name in _SUITE_CODE)


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
