"""One prompt on its way through the network, in chunks."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from mlx_worker.engine.prefix_cache import Prefix, PrefixCache
from mlx_worker.engine.served_model import ServedModel


class PrefillJob:
    """`done` tokens of `tokens` are in `caches`. Nothing is looked up or made before the first `advance`."""

    def __init__(self, served: ServedModel, tenant: str, tokens: list[int]) -> None:
        self.served = served
        self.tenant = tenant
        self.tokens = tokens
        self.caches: list[Any] | None = None
        self.done = 0
        self.cached = 0
        # Whether a piece of it was computed in the pass of the rows that decode.
        self.rode = False

    @property
    def remaining(self) -> int:
        """Prompt tokens that must still be computed."""
        return len(self.tokens) - self.done

    def begin(self, prefixes: PrefixCache | None, whole: bool) -> mx.array | None:
        """Takes what is known of the prompt; the logits when that is all of it and `whole` may be used."""
        known: Prefix | None = None
        if prefixes is not None:
            served = self.served
            known = prefixes.find(served.can_be_cut, served.id, self.tenant, self.tokens, whole)
        if known is None:
            self.caches = self.served.new_caches()
            return None
        self.caches, self.done = known.caches, known.length
        self.cached = known.length
        return known.logits

    def reset(self) -> None:
        """Frees what was computed; it is to begin once more."""
        self.caches, self.done, self.cached = None, 0, 0

    def advance(self, most: int) -> tuple[int, mx.array | None]:
        """Computes up to `most` tokens. Returns how many, and the logits once the prompt is through."""
        assert self.caches is not None
        count = max(1, min(most, self.remaining))
        piece = self.tokens[self.done : self.done + count]
        logits = None
        if count == self.remaining:
            logits = self.served.forward.last_logits(piece, self.caches)
        else:
            self.served.forward.fill(piece, self.caches)
        self.done += count
        return count, logits

    def ride(self, most: int, inputs: mx.array, row_caches: list[Any]) -> mx.array:
        """Computes up to `most` tokens, never the last one, in the pass of the rows. Returns their logits.

        Lazily: `arrays` are to be computed with them.
        """
        assert self.caches is not None
        count = max(1, min(most, self.remaining - 1))
        piece = self.tokens[self.done : self.done + count]
        logits = self.served.forward.shared(piece, self.caches, inputs, row_caches)
        self.done += count
        self.rode = True
        return logits

    @property
    def arrays(self) -> list[mx.array]:
        """What its caches hold."""
        return [array for cache in self.caches or [] for array in (cache.keys, cache.values)]

    def keep(self, prefixes: PrefixCache, logits: mx.array | None, pin: bool = False) -> bool:
        """Keeps the finished prompt's KV, and its logits when they are given."""
        assert self.caches is not None
        served = self.served
        return prefixes.keep(
            served.can_be_cut, served.id, self.tenant, self.tokens, self.caches, logits=logits, pin=pin
        )
