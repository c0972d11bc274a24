"""CPU quotas by cgroup, version 2 or 1, for node processes on a machine that allows it.

A group is made beside the hierarchy's other groups and only the processes named are moved into it; who may not do
that gets SetupError with the reason, and the caller falls back on the node server's own limit and says so.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgewise.domain.errors import SetupError

# A quota is refilled once per period: with the usual 100 ms a prompt of 50 ms would never feel it.
PERIOD_US = 10_000
LEAST_QUOTA_US = 1_000
# What a group weighs against other work on the machine, by version: the most there is, so that a node gets its quota.
WEIGHT = {1: 262_144, 2: 10_000}
MOUNTS = Path("/proc/self/mounts")
OWN_GROUPS = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where CPU groups can be made. parent: folder in which; version: 1 or 2."""

    parent: Path
    version: int

    @property
    def name(self) -> str:
        return f"cgroup v{self.version}"


class Quotas:
    """Groups made here, one per node; `close` moves nothing back: it removes the groups once they are empty."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy
        self._groups: dict[str, Path] = {}

    def hold(self, name: str, pid: int, cores: float) -> None:
        """Hold a process, its threads and what it forks later to `cores`. Raises SetupError."""
        group = self.hierarchy.parent / f"edgewise-{os.getpid()}-{name}"
        try:
            group.mkdir(exist_ok=True)
            self._groups[name] = group
            quota, period = quota_us(cores)
            if self.hierarchy.version == 2:
                (group / "cpu.max").write_text(f"{quota} {period}")
                (group / "cpu.weight").write_text(str(WEIGHT[2]))
            else:
                (group / "cpu.cfs_period_us").write_text(str(period))
                (group / "cpu.cfs_quota_us").write_text(str(quota))
                (group / "cpu.shares").write_text(str(WEIGHT[1]))
            (group / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            raise SetupError(f"no CPU quota could be set: {error.strerror}", where=str(group)) from error

    def close(self) -> list[str]:
        """Remove the groups; the names of those that are not empty yet. Call again when their processes ended."""
        for name, group in list(self._groups.items()):
            try:
                group.rmdir()
            except OSError:
                if group.exists():
                    continue
            del self._groups[name]
        return list(self._groups)


def quota_us(cores: float) -> tuple[int, int]:
    """(quota, period) that hold a process to `cores`, µs."""
    period = max(PERIOD_US, math.ceil(LEAST_QUOTA_US / cores))
    return max(LEAST_QUOTA_US, round(cores * period)), period


def find_hierarchy(mounts: Path = MOUNTS, own: Path = OWN_GROUPS) -> Hierarchy:
    """The place for CPU groups on this machine, version 2 first. Raises SetupError saying why there is none."""
    reasons = []
    for parent, version in _candidates(mounts.read_text(), own.read_text()):
        reason = _refusal(parent, version)
        if not reason:
            return Hierarchy(parent, version)
        reasons.append(f"{parent}: {reason}")
    raise SetupError("; ".join(reasons) or "no CPU controller is mounted", where="cgroup")


def _candidates(mounts: str, own: str) -> Iterable[tuple[Path, int]]:
    """(folder, version): the own group of this process and all above it, version 2 before version 1."""
    paths = {}
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        paths[controllers] = path
    found: list[tuple[Path, int]] = []
    for line in mounts.splitlines():
        _, mount, kind, options = line.split()[:4]
        if kind == "cgroup2":
            found += [(folder, 2) for folder in _upwards(Path(mount), paths.get("", "/"))]
        elif kind == "cgroup" and "cpu" in options.split(","):
            own_path = next((p for c, p in paths.items() if "cpu" in c.split(",")), "/")
            found += [(folder, 1) for folder in _upwards(Path(mount), own_path)]
    return sorted(found, key=lambda f: -f[1])


def _upwards(mount: Path, path: str) -> list[Path]:
    own = mount / path.strip("/")
    return [own, *(p for p in own.parents if p == mount or mount in p.parents)]


def _refusal(parent: Path, version: int) -> str:
    """Why no CPU groups can be made in a folder; "" when they can."""
    try:
        if version == 2 and "cpu" not in (parent / "cgroup.subtree_control").read_text().split():
            return "the cpu controller is not given to groups below it"
        probe = parent / f"edgewise-{os.getpid()}-probe"
        probe.mkdir()
        try:
            known = (probe / ("cpu.max" if version == 2 else "cpu.cfs_quota_us")).exists()
        finally:
            probe.rmdir()
    except OSError as error:
        return error.strerror or str(error)
    return "" if known else "this kernel knows no CPU quota"
