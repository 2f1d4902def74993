"""What is kept of earlier prompts, whatever kind of cache a model has."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import KVCache, make_prompt_cache

from mlx_worker.engine.boundary_store import BoundaryStore
from mlx_worker.engine.prefix_tree import PrefixTree

# The tenant whose prompts everybody may share: requests without a tenant, and what operators prepare.
SHARED = ""


@dataclass(frozen=True)
class Prefix:
    """A start for a prompt: caches that hold its first `length` tokens, and logits when that is all of it."""

    length: int
    caches: list[Any]
    logits: mx.array | None


class PrefixCache:
    """Scopes are pairs of model and tenant. A tenant reads its own and the shared one, and writes its own."""

    def __init__(self, most_bytes: int) -> None:
        self.tree = PrefixTree(most_bytes)
        self.boundaries = BoundaryStore(most_bytes)

    @property
    def most_bytes(self) -> int:
        """The budget for both kinds together."""
        return self.tree.most_bytes

    @most_bytes.setter
    def most_bytes(self, value: int) -> None:
        self.tree.most_bytes = self.boundaries.most_bytes = value
        self.trim(value)

    @property
    def nbytes(self) -> int:
        """Memory that is kept."""
        return self.tree.nbytes + self.boundaries.nbytes

    @property
    def entries(self) -> int:
        """Edges and states that are kept."""
        return len(self.tree) + len(self.boundaries)

    @property
    def pinned(self) -> int:
        """Entries that are pinned."""
        return self.tree.pinned + self.boundaries.pinned

    @property
    def pinned_bytes(self) -> int:
        """Memory that is kept whatever the budget."""
        return self.tree.pinned_bytes + self.boundaries.pinned_bytes

    @property
    def evictions(self) -> int:
        """Entries that had to go for the budget."""
        return self.tree.evictions + self.boundaries.evictions

    def known_length(self, cuttable: bool, model: str, tenant: str, tokens: Sequence[int]) -> int:
        """How many of the first tokens need not be computed."""
        if not cuttable:
            return max(self.boundaries.find(scope, tokens, False)[0] for scope in scopes_of(model, tenant))
        return max(self.tree.known_length(scope, tokens) for scope in scopes_of(model, tenant))

    def held_length(self, cuttable: bool, model: str, tenant: str, tokens: Sequence[int]) -> int:
        """How many of a tenant's first tokens are pinned."""
        part: PrefixTree | BoundaryStore = self.tree if cuttable else self.boundaries
        return part.held_length((model, tenant), tokens)

    def unpin(self, cuttable: bool, model: str, tenant: str, tokens: Sequence[int]) -> bool:
        """Takes the pin of exactly this prompt away. False: there is none."""
        part: PrefixTree | BoundaryStore = self.tree if cuttable else self.boundaries
        return part.unpin((model, tenant), tokens)

    def has_logits(self, cuttable: bool, model: str, tenant: str, tokens: Sequence[int]) -> bool:
        """Whether the first token after exactly this prompt can be drawn without computing anything."""
        for scope in scopes_of(model, tenant):
            if cuttable:
                found = self.tree.match(scope, tokens).logits is not None
            else:
                found = self.boundaries.find(scope, tokens, True)[0] == len(tokens)
            if found:
                return True
        return False

    def find(
        self, cuttable: bool, model: str, tenant: str, tokens: Sequence[int], whole: bool
    ) -> Prefix | None:
        """The longest start. Without `whole`, or without logits, at least the last token is left."""
        if not cuttable:
            return self._find_boundary(model, tenant, tokens, whole)
        matches = [self.tree.match(scope, tokens) for scope in scopes_of(model, tenant)]
        if whole:
            complete = next((match for match in matches if match.logits is not None), None)
            if complete is not None:
                layers = complete.layers(len(tokens), 1)
                return Prefix(len(tokens), caches_with(layers, len(tokens)), complete.logits)
        best = max(matches, key=lambda match: match.length)
        length = min(best.length, len(tokens) - 1)
        if length <= 0:
            return None
        return Prefix(length, caches_with(best.layers(length, len(tokens) - length), length), None)

    def keep(
        self,
        cuttable: bool,
        model: str,
        tenant: str,
        tokens: Sequence[int],
        caches: list[Any],
        *,
        logits: mx.array | None = None,
        pin: bool = False,
    ) -> bool:
        """Keeps what the caches hold of `tokens`, all of them. False: it does not fit."""
        scope = (model, tenant)
        if not cuttable:
            fits = self.boundaries.insert(scope, tokens, caches, logits, pin)
        else:
            layers = [(cache.keys, cache.values) for cache in caches]
            fits = self.tree.insert(scope, tokens, layers, logits=logits, pin=pin)
        if self.nbytes > self.most_bytes:
            self.trim(self.most_bytes)
        return fits

    def trim(self, to_bytes: int) -> None:
        """Evicts until both kinds together hold at most this much, pinned entries aside."""
        self.tree.trim(max(0, to_bytes - self.boundaries.nbytes))
        self.boundaries.trim(max(0, to_bytes - self.tree.nbytes))

    def drop_model(self, model: str) -> None:
        """Forgets all that was made by a model."""
        for part in (self.tree, self.boundaries):
            part.drop([scope for scope in part.scopes() if scope_model(scope) == model])

    def _find_boundary(self, model: str, tenant: str, tokens: Sequence[int], whole: bool) -> Prefix | None:
        found = [self.boundaries.find(scope, tokens, whole) for scope in scopes_of(model, tenant)]
        length, boundary = max(found, key=lambda pair: pair[0])
        if boundary is None:
            return None
        # A copy, since a rotating cache is written to in place.
        return Prefix(length, copy_of(boundary.caches), boundary.logits if length == len(tokens) else None)


def can_be_cut(network: Any) -> bool:
    """Whether every layer has a plain cache, of which any beginning is the cache of that beginning."""
    return all(type(cache) is KVCache for cache in make_prompt_cache(network))


def caches_with(layers: list[tuple[mx.array, mx.array]], length: int) -> list[Any]:
    """Fresh caches that begin with these keys and values."""
    caches = []
    for keys, values in layers:
        cache = KVCache()
        cache.keys, cache.values, cache.offset = keys, values, length
        caches.append(cache)
    return caches


def copy_of(caches: list[Any]) -> list[Any]:
    """Caches of their own, with buffers of their own."""
    return copy.deepcopy(caches)


def scopes_of(model: str, tenant: str) -> list[Hashable]:
    """What a tenant may read: its own, then what is shared."""
    return [(model, tenant)] if tenant == SHARED else [(model, tenant), (model, SHARED)]


def scope_model(scope: Hashable) -> str:
    """The model of a scope."""
    assert isinstance(scope, tuple)
    return str(scope[0])
