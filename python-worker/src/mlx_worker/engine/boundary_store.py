"""Cache states at the ends of prompts, for models whose caches cannot be cut (rotating, state-space)."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import mlx.core as mx


@dataclass(frozen=True)
class Boundary:
    """The whole state after some tokens."""

    caches: list[Any]
    logits: mx.array | None
    nbytes: int
    pinned: bool


class BoundaryStore:
    """Whole states only: a prompt can go on where a stored one ended, and nowhere else."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        # Counted as they change, so that statistics may be read in any thread.
        self.nbytes = 0
        self.pinned = 0
        self.evictions = 0
        self._kept: OrderedDict[tuple[Hashable, tuple[int, ...]], Boundary] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def pinned_bytes(self) -> int:
        """Memory of the pinned states."""
        return sum(boundary.nbytes for boundary in self._kept.values() if boundary.pinned)

    def held_length(self, scope: Hashable, tokens: Sequence[int]) -> int:
        """How many of the tokens are kept whatever the budget: all, or none."""
        boundary = self._kept.get((scope, tuple(tokens)))
        return len(tokens) if boundary is not None and boundary.pinned else 0

    def unpin(self, scope: Hashable, tokens: Sequence[int]) -> bool:
        """Takes the pin of exactly this prompt away. False: there is none."""
        key = (scope, tuple(tokens))
        boundary = self._kept.get(key)
        if boundary is None or not boundary.pinned:
            return False
        self._kept[key] = replace(boundary, pinned=False)
        self.pinned -= 1
        return True

    def find(self, scope: Hashable, tokens: Sequence[int], whole: bool) -> tuple[int, Boundary | None]:
        """The longest stored beginning; the whole prompt only when `whole` and its logits are known."""
        wanted = tuple(tokens)
        best: tuple[int, Boundary | None] = (0, None)
        for (owner, known), boundary in self._kept.items():
            length = len(known)
            usable = length < len(wanted) or (whole and length == len(wanted) and boundary.logits is not None)
            if owner == scope and usable and length > best[0] and wanted[:length] == known:
                best = (length, boundary)
        if best[1] is not None:
            self._kept.move_to_end((scope, wanted[: best[0]]))
        return best

    def insert(
        self, scope: Hashable, tokens: Sequence[int], caches: list[Any], logits: mx.array | None, pin: bool
    ) -> bool:
        """Keeps a copy of the state. False: it does not fit the budget."""
        key = (scope, tuple(tokens))
        known = self._kept.pop(key, None)
        if known is not None:
            self._forget(known)
            logits, pin = known.logits if logits is None else logits, pin or known.pinned
        copied = copy.deepcopy(caches)
        size = sum(int(cache.nbytes) for cache in copied) + (0 if logits is None else int(logits.nbytes))
        self._kept[key] = Boundary(copied, logits, size, pin)
        self.nbytes += size
        self.pinned += pin
        self.trim()
        return key in self._kept

    def trim(self, to_bytes: int | None = None) -> None:
        """Evicts what was used longest ago until the budget holds, or only pinned states are left."""
        limit = self.most_bytes if to_bytes is None else to_bytes
        for key in [key for key, boundary in self._kept.items() if not boundary.pinned]:
            if self.nbytes <= limit:
                return
            self._forget(self._kept.pop(key))
            self.evictions += 1

    def drop(self, scopes: Sequence[Hashable]) -> None:
        """Forgets whole scopes, pinned or not."""
        for key in [key for key in self._kept if key[0] in scopes]:
            self._forget(self._kept.pop(key))

    def _forget(self, boundary: Boundary) -> None:
        self.nbytes -= boundary.nbytes
        self.pinned -= boundary.pinned

    def scopes(self) -> list[Hashable]:
        """Every scope that holds something."""
        return list(dict.fromkeys(scope for scope, _ in self._kept))
