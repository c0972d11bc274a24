"""Nodes alike, written as one entry with a count; a scenario in memory has each node by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, NamedTuple

from evals.scenario import NodeEntry

SHORTEST_GROUP = 10  # fewer nodes are easier to read one by one


class Expanded(NamedTuple):
    """Nodes, and for each the index of the entry that it comes from."""

    nodes: tuple[NodeEntry, ...]
    entries: tuple[int, ...]


def expand(entries: Sequence[NodeEntry]) -> Expanded:
    """{id: edge, count: 3} becomes edge-1, edge-2, edge-3."""
    found = [(node, i) for i, entry in enumerate(entries) for node in _members(entry)]
    return Expanded(tuple(node for node, _ in found), tuple(i for _, i in found))


def compact(nodes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The other way round, on plain values: runs name-1, name-2, … of ten nodes alike and more become one entry."""
    found: list[dict[str, Any]] = []
    for _, run in groupby(nodes, key=_alike):
        for group in _counted(list(run)):
            many = len(group) >= SHORTEST_GROUP
            found += [group[0] | {"id": _name(group[0]["id"])[0], "count": len(group)}] if many else group
    return found


def _members(entry: NodeEntry) -> Iterator[NodeEntry]:
    if entry.count is None:
        yield entry
        return
    for number in range(1, entry.count + 1):
        yield replace(entry, id=f"{entry.id}-{number}", count=None)


def _counted(run: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """A run of nodes alike, cut into stretches that count 1, 2, 3, …, and single nodes."""
    group: list[dict[str, Any]] = []
    for node in run:
        if group and _name(node["id"])[1] != len(group) + 1:
            yield group
            group = []
        if group or _name(node["id"])[1] == 1:
            group.append(node)
        else:
            yield [node]
    if group:
        yield group


def _alike(node: dict[str, Any]) -> tuple[str, str]:
    return _name(node["id"])[0], repr({k: v for k, v in node.items() if k != "id"})


def _name(node_id: str) -> tuple[str, int]:
    """ "edge-12" is ("edge", 12); a number written otherwise (edge-012) does not count, and is −1."""
    name, _, number = node_id.rpartition("-")
    counts = bool(name) and number.isascii() and number.isdigit() and str(int(number)) == number
    return (name, int(number)) if counts else (node_id, -1)
