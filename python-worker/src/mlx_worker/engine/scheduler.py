"""Who is next: shortest first with ageing, four classes, fair between tenants.

Every waiting request has one score, a time in seconds: when it arrived, later by a bounded head start for its
class, its length and its tenant's recent use. The lowest score is next. All of them age alike, so nobody
starves: a request goes before every other that arrives more than `LONGEST_DELAY_SECONDS` after it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar


class Priority(IntEnum):
    """Classes of work, the most urgent first."""

    INTERACTIVE = 0
    NORMAL = 1
    BATCH = 2
    BACKGROUND = 3


CLASS_DELAY_SECONDS = {
    Priority.INTERACTIVE: 0.0,
    Priority.NORMAL: 2.0,
    Priority.BATCH: 10.0,
    Priority.BACKGROUND: 30.0,
}
DELAY_SECONDS_PER_TOKEN = 0.005
LONGEST_LENGTH_DELAY_SECONDS = 10.0
LONGEST_TENANT_DELAY_SECONDS = 10.0
LONGEST_DELAY_SECONDS = (
    max(CLASS_DELAY_SECONDS.values()) + LONGEST_LENGTH_DELAY_SECONDS + LONGEST_TENANT_DELAY_SECONDS
)

Work = TypeVar("Work", bound=Hashable)


@dataclass(eq=False)
class Waiting(Generic[Work]):
    """One piece of work. `cost` is the number of prompt tokens that it still needs; it may be changed."""

    work: Work
    tenant: str
    priority: Priority
    arrived_at: float
    cost: int


class Scheduler(Generic[Work]):
    """Holds what waits. Knows no clock: only arrival times and what `charge` was told."""

    def __init__(self, shortest_first: bool = True) -> None:
        self.shortest_first = shortest_first
        self._waiting: dict[Work, Waiting[Work]] = {}
        self._used: dict[str, int] = {}
        self._members: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, work: Work) -> bool:
        return work in self._waiting

    def add(self, entry: Waiting[Work]) -> None:
        """Adds work. A tenant that had nothing here begins level with the one that has used least."""
        if entry.tenant not in self._used:
            self._used[entry.tenant] = self._least_used()
        self._members[entry.tenant] = self._members.get(entry.tenant, 0) + 1
        self._waiting[entry.work] = entry

    def remove(self, work: Work) -> Waiting[Work] | None:
        """Takes work out, None when it is not here."""
        entry = self._waiting.pop(work, None)
        if entry is not None:
            self._members[entry.tenant] -= 1
            if not self._members[entry.tenant]:
                del self._members[entry.tenant]
                self._forget_idle()
        return entry

    def charge(self, tenant: str, tokens: int) -> None:
        """Tokens were spent on a tenant that has, or had a moment ago, work here."""
        self._used[tenant] = self._used.get(tenant, self._least_used()) + tokens
        self._forget_idle()

    def score(self, entry: Waiting[Work], least_used: int | None = None) -> float:
        """The lowest is next. `least_used` spares looking it up for each entry."""
        least = self._least_used() if least_used is None else least_used
        length = entry.cost * DELAY_SECONDS_PER_TOKEN if self.shortest_first else 0.0
        ahead = self._used.get(entry.tenant, 0) - least
        return (
            entry.arrived_at
            + CLASS_DELAY_SECONDS[entry.priority]
            + min(length, LONGEST_LENGTH_DELAY_SECONDS)
            + min(max(0, ahead) * DELAY_SECONDS_PER_TOKEN, LONGEST_TENANT_DELAY_SECONDS)
        )

    def best(self, eligible: Callable[[Work], bool] = lambda work: True) -> Waiting[Work] | None:
        """What is next among the eligible; the one that was added first when scores are equal."""
        entries = [entry for entry in self._waiting.values() if eligible(entry.work)]
        least = self._least_used()
        return min(entries, key=lambda entry: self.score(entry, least), default=None)

    def entries(self) -> list[Waiting[Work]]:
        """Everything that waits, in the order in which it was added."""
        return list(self._waiting.values())

    def clear(self) -> list[Work]:
        """Takes everything out."""
        works = list(self._waiting)
        self._waiting.clear()
        self._members.clear()
        self._used.clear()
        return works

    def _least_used(self) -> int:
        return min((self._used[tenant] for tenant in self._members if tenant in self._used), default=0)

    def _forget_idle(self) -> None:
        """Once nobody waits, nobody is ahead; while some wait, those who are level are forgotten."""
        if not self._members:
            self._used.clear()
            return
        least = self._least_used()
        for tenant in [name for name in self._used if name not in self._members]:
            if self._used[tenant] <= least:
                del self._used[tenant]
