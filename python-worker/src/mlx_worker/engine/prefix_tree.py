"""KV of prompts that share their beginnings: a radix tree whose edges own their slices.

Each edge holds the keys and values of its own tokens only, in buffers of their own, which are never written
to again. What a request gets is put together from them into fresh caches, so no request can see a position
that another one wrote. Nothing here is cut by moving an offset on a shared buffer.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import mlx.core as mx

from mlx_worker.engine.prefix_edge import Edge, Layer, Match, shared_length


class PrefixTree:
    """One tree for each scope (model and tenant), one byte budget for all.

    Engine's thread only, but for `nbytes`, `pinned`, `evictions` and `len`.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        # Counted as they change, so that statistics may be read in any thread.
        self.nbytes = 0
        self.pinned = 0
        self._count = 0
        self.evictions = 0
        self._roots: dict[Hashable, Edge] = {}
        # Changes with whatever is kept.
        self.version = 0
        self._now = 0

    def match(self, scope: Hashable, tokens: Sequence[int]) -> Match:
        """The longest known beginning. Marks it as used."""
        self._now += 1
        parts = list(self._walk(scope, tokens))
        for edge, _ in parts:
            edge.used_at = self._now
        length = sum(shared for _, shared in parts)
        whole = length == len(tokens) and bool(parts) and parts[-1][1] == len(parts[-1][0].tokens)
        return Match(length, parts, parts[-1][0].logits if whole else None)

    def known_length(self, scope: Hashable, tokens: Sequence[int]) -> int:
        """How many of the first tokens are known; marks nothing."""
        return sum(shared for _, shared in self._walk(scope, tokens))

    def _walk(self, scope: Hashable, tokens: Sequence[int]) -> Iterator[tuple[Edge, int]]:
        """The edges that a prompt begins with, and how many of each one's tokens are the prompt's."""
        edge, length = self._roots.get(scope), 0
        while edge is not None and length < len(tokens):
            child = edge.children.get(tokens[length])
            if child is None:
                return
            shared = shared_length(child.tokens, tokens, length)
            yield child, shared
            length += shared
            edge = child if shared == len(child.tokens) else None

    def insert(
        self,
        scope: Hashable,
        tokens: Sequence[int],
        layers: Sequence[Layer],
        *,
        logits: mx.array | None = None,
        pin: bool = False,
    ) -> bool:
        """Keeps the KV of all tokens; copies what is new, and no more. False: it does not fit the budget.

        `layers` hold at least all the tokens' positions, from the first on.
        """
        self._place(scope, tokens, layers, 0, logits, pin)
        return self.known_length(scope, tokens) == len(tokens)

    def graft(
        self,
        scope: Hashable,
        path: Sequence[int],
        tokens: Sequence[int],
        layers: Sequence[Layer],
        logits: mx.array | None,
        pin: bool,
    ) -> bool:
        """As `insert`, where `layers` hold the positions of `tokens` only, and `path` is known before them.

        False: something of `path` is not known.
        """
        if self.known_length(scope, path) < len(path):
            return False
        self._place(scope, [*path, *tokens], layers, len(path), logits, pin)
        return True

    def unpin(self, scope: Hashable, tokens: Sequence[int]) -> bool:
        """Takes the pin of exactly this prompt away. False: there is none."""
        match = self.match(scope, tokens)
        if match.length != len(tokens) or not match.parts:
            return False
        edge, used = match.parts[-1]
        if used != len(edge.tokens) or not edge.pinned:
            return False
        edge.pinned = False
        self.pinned -= 1
        self.version += 1
        return True

    @property
    def pinned_bytes(self) -> int:
        """Memory that no budget can take: pinned edges, and those that they go on from."""
        return sum(edge.nbytes for edge in self._held())

    def held_length(self, scope: Hashable, tokens: Sequence[int]) -> int:
        """How many of the first tokens are kept whatever the budget; marks nothing."""
        held, length = self._held(), 0
        for edge, shared in self._walk(scope, tokens):
            if edge not in held:
                break
            length += shared
        return length

    def _held(self) -> set[Edge]:
        held: set[Edge] = set()
        for edge in self.edges() if self.pinned else ():
            above: Edge | None = edge if edge.pinned else None
            while above is not None and above.parent is not None and above not in held:
                held.add(above)
                above = above.parent
        return held

    def forget_logits(self) -> None:
        """Drops all stored logits, for instance when speculation is switched off."""
        for edge in self.edges():
            if edge.logits is not None:
                self.nbytes -= int(edge.logits.nbytes)
                edge.logits = None

    def drop(self, scopes: Sequence[Hashable]) -> None:
        """Forgets whole scopes, pinned or not."""
        for scope in scopes:
            self._roots.pop(scope, None)
        left = list(self.edges())
        self.nbytes, self._count = sum(edge.nbytes for edge in left), len(left)
        self.pinned = sum(1 for edge in left if edge.pinned)

    def scopes(self) -> list[Hashable]:
        """Every scope that holds something."""
        return list(self._roots)

    def __len__(self) -> int:
        return self._count

    def trim(self, to_bytes: int | None = None) -> None:
        """Evicts what was used longest ago until the budget holds, or only pinned edges are left."""
        limit = self.most_bytes if to_bytes is None else to_bytes
        while self.nbytes > limit:
            leaves = [edge for edge in self.edges() if not edge.children and not edge.pinned]
            if not leaves:
                return
            self._remove(min(leaves, key=lambda edge: edge.used_at))

    def _place(
        self,
        scope: Hashable,
        tokens: Sequence[int],
        layers: Sequence[Layer],
        begin: int,
        logits: mx.array | None,
        pin: bool,
    ) -> None:
        """Adds what is new of `tokens`; the first position in `layers` is that of token `begin`."""
        self._now += 1
        edge = self._roots.setdefault(scope, Edge((), [], None, scope=scope))
        at = 0
        while at < len(tokens):
            edge.used_at = self._now
            child = edge.children.get(tokens[at])
            if child is None:
                edge = self._grow(edge, tuple(tokens[at:]), layers, at - begin)
                break
            shared = shared_length(child.tokens, tokens, at)
            edge = child if shared == len(child.tokens) else self._split(child, shared)
            at += shared
        edge.used_at = self._now
        self._mark(edge, logits, pin)
        self.trim()

    def _mark(self, edge: Edge, logits: mx.array | None, pin: bool) -> None:
        if logits is not None and edge.logits is None and edge.parent is not None:
            edge.logits = mx.contiguous(logits)
            mx.eval(edge.logits)
            self.nbytes += int(edge.logits.nbytes)
            self.version += 1
        if pin and not edge.pinned:
            edge.pinned = True
            self.pinned += 1
            self.version += 1

    def _grow(self, edge: Edge, tokens: tuple[int, ...], layers: Sequence[Layer], at: int) -> Edge:
        end = at + len(tokens)
        own = [
            (mx.contiguous(keys[..., at:end, :]), mx.contiguous(values[..., at:end, :]))
            for keys, values in layers
        ]
        mx.eval(own)
        child = Edge(tokens, own, edge, used_at=self._now, scope=edge.scope)
        edge.children[tokens[0]] = child
        self.version += 1
        self._count += 1
        self.nbytes += child.nbytes
        return child

    def _split(self, edge: Edge, at: int) -> Edge:
        """Puts a node `at` tokens into an edge and returns the edge that leads to it."""
        assert edge.parent is not None
        head = [
            (mx.contiguous(keys[..., :at, :]), mx.contiguous(values[..., :at, :]))
            for keys, values in edge.layers
        ]
        tail = [
            (mx.contiguous(keys[..., at:, :]), mx.contiguous(values[..., at:, :]))
            for keys, values in edge.layers
        ]
        mx.eval(head, tail)
        upper = Edge(edge.tokens[:at], head, edge.parent, used_at=edge.used_at, scope=edge.scope)
        edge.parent.children[edge.tokens[0]] = upper
        edge.tokens, edge.layers, edge.parent = edge.tokens[at:], tail, upper
        upper.children[edge.tokens[0]] = edge
        self._count += 1
        self.version += 1
        return upper

    def _remove(self, edge: Edge) -> None:
        assert edge.parent is not None
        self.nbytes -= edge.nbytes
        self._count -= 1
        self.evictions += 1
        del edge.parent.children[edge.tokens[0]]
        root = edge.parent
        if root.parent is None and not root.children:
            self._roots.pop(root.scope, None)

    def edges(self) -> Iterator[Edge]:
        """Everything that is kept."""
        stack = [child for root in self._roots.values() for child in root.children.values()]
        while stack:
            edge = stack.pop()
            stack += edge.children.values()
            yield edge
