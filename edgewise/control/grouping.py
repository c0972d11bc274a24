"""Things that stand on nodes, node by node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar


class Placed(Protocol):
    @property
    def node(self) -> str: ...


P = TypeVar("P", bound=Placed)


def by_node(items: Iterable[P]) -> dict[str, tuple[P, ...]]:
    """Items by their node, nodes in the order of their first item, each node's items in theirs."""
    groups: dict[str, list[P]] = {}
    for item in items:
        groups.setdefault(item.node, []).append(item)
    return {node: tuple(group) for node, group in groups.items()}
