"""The queue of one model: tenants get their parts of it, and each tenant's prompts go by their keys.

Between tenants start-time fair queueing, by the functions that share a node between models (policy.share): of the
tenants with prompts waiting the one with the least virtual time is next, and its virtual time grows by the expected
service of the prompt taken over the tenant's weight. So a tenant that sends a hundred prompts waits for its own; one
that sends few is served as if its part of the replica were its own. With one tenant (nobody names any) the key alone
decides.

At most MOST_TENANTS with prompts waiting, or with service not yet paid for, are told apart; more share one place.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Generic, TypeVar

import numpy as np

from edgewise.policy.share import NOBODY, charge, next_model, wake

COMMON: Final = ""  # the tenant of those who name none
MOST_TENANTS: Final = 64
_REST: Final = 0  # the place of those that found none

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Not thread-safe. Items are told apart by identity. weights: of tenants, relative, > 0; others have 1."""

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self._weights = dict(weights or {})
        self._heaps: list[list[tuple[float, int, float, T]]] = [[] for _ in range(MOST_TENANTS)]
        self._virtual_s, self._share = np.zeros(MOST_TENANTS), np.ones(MOST_TENANTS)
        self._waiting = np.zeros(MOST_TENANTS, np.bool_)
        self._place: dict[str, int] = {}
        self._clock_s = 0.0  # virtual time at which the last prompt was taken
        self._count = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[T]:
        """Tenant by tenant, in no order worth relying on."""
        return (entry[3] for heap in self._heaps for entry in heap)

    def push(self, item: T, key: float, cost_s: float, tenant: str = COMMON) -> None:
        """key: least first within the tenant, in order of arrival where equal. cost_s: expected service, s ≥ 0."""
        place = self._place_of(tenant)
        if not self._heaps[place]:
            wake(self._virtual_s, place, self._clock_s)
            self._waiting[place] = True
        heapq.heappush(self._heaps[place], (key, self._count, cost_s, item))
        self._count += 1
        self._size += 1

    def pop(self) -> T | None:
        """The next, None when nobody waits."""
        place = int(next_model(self._virtual_s, self._waiting))
        if place == NOBODY:
            return None
        self._clock_s = float(self._virtual_s[place])
        _, _, cost_s, item = heapq.heappop(self._heaps[place])
        self._waiting[place] = bool(self._heaps[place])
        charge(self._virtual_s, self._share, place, cost_s)
        self._size -= 1
        return item

    def remove(self, item: T) -> bool:
        """Takes an item out; False when it is not there."""
        for place, heap in enumerate(self._heaps):
            for i, entry in enumerate(heap):
                if entry[3] is item:
                    heap[i] = heap[-1]
                    heap.pop()
                    heapq.heapify(heap)
                    self._waiting[place] = bool(heap)
                    self._size -= 1
                    return True
        return False

    def take_all(self) -> list[T]:
        """Empties the queue, in the order in which it would have been served."""
        return list(iter(self.pop, None))

    def rekey(self, key: Callable[[T], float]) -> None:
        """Gives every item a new key."""
        for heap in self._heaps:
            heap[:] = [(key(item), number, cost_s, item) for _, number, cost_s, item in heap]
            heapq.heapify(heap)

    def weigh(self, weights: Mapping[str, float]) -> None:
        """New weights, for all tenants."""
        self._weights = dict(weights)
        for tenant, place in self._place.items():
            if place != _REST:
                self._share[place] = self._weights.get(tenant, 1.0)

    def _place_of(self, tenant: str) -> int:
        place = self._place.get(tenant)
        if place is None:
            place = self._free_place()
            self._place[tenant] = place
            if place != _REST:
                self._share[place] = self._weights.get(tenant, 1.0)
                self._virtual_s[place] = self._clock_s
        return place

    def _free_place(self) -> int:
        """A place whose tenant waits for nothing and owes nothing: forgetting it changes nothing."""
        used = set(self._place.values())
        for place in range(1, MOST_TENANTS):
            if place not in used:
                return place
        for tenant, place in list(self._place.items()):
            if not self._heaps[place] and (place == _REST or self._virtual_s[place] <= self._clock_s):
                del self._place[tenant]
                if place != _REST:
                    return place
        return _REST
