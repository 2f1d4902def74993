"""The requests that decode together: one forward pass for all of them gives each its next token.

A step puts the next pass together while the device computes the present tokens, and has it begin as soon as
they are read, so that the device computes while Python hands tokens out. When somebody has come meanwhile it
does not begin, since their first token would wait for the whole of it. Only rows whose draw depends on the
token before (penalties, schemas) are drawn after it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import mlx.core as mx
from mlx_lm.models.cache import BatchKVCache

from mlx_worker.engine.forward import Forward
from mlx_worker.engine.prefix_cache import caches_with
from mlx_worker.engine.row import Row, StepResult


class Rider(Protocol):
    """A piece of a prompt that goes through the network in the pass of the rows."""

    @property
    def arrays(self) -> list[mx.array]:
        """What is to be computed besides the rows' logits."""

    def logits(self, inputs: mx.array, row_caches: list[Any]) -> mx.array:
        """The rows' logits, [rows, vocabulary]."""


class DecodeBatch:
    """Used in the engine's thread only."""

    def __init__(self, forward: Forward) -> None:
        self._network = forward.network
        self.rows: list[Row] = []
        self._caches: list[Any] = []
        self._next: mx.array | None = None
        # Rows whose token in `_next` has been handed out already: that of their prefill.
        self._handed_out: set[Row] = set()

    def __len__(self) -> int:
        return len(self.rows)

    def join(self, rows: list[Row]) -> None:
        """Adds rows that have their first token. Once per step at most: it copies everybody's KV."""
        layers = zip(*(row.caches for row in rows), strict=True)
        merged = [together[0].merge(list(together)) for together in layers]
        first = mx.array([row.tokens[-1] for row in rows])
        if self.rows:
            for mine, theirs in zip(self._caches, merged, strict=True):
                mine.extend(theirs)
            assert self._next is not None
            self._next = mx.concatenate([self._next, first])
        else:
            self._caches, self._next = merged, first
        self.rows += rows
        self._handed_out |= set(rows)
        for row in rows:
            row.caches = []

    def step(self, rider: Rider | None = None, wait: Callable[[], bool] = lambda: False) -> list[StepResult]:
        """One token for each row, except for those that have just joined. Raises when the network fails.

        `wait` is asked once the present tokens are read: whether the next pass shall not begin by itself.
        Rows that end stay until `remove`, so that their KV can still be kept.
        """
        inputs = self._next
        if inputs is None:
            return []
        logits = self._logits(inputs, rider)
        besides = [] if rider is None else rider.arrays
        before = [row.distribution for row in self.rows]
        if all(row.draw.plain for row in self.rows):
            self._next = mx.argmax(logits, axis=-1)
            present = read(inputs)
            if not wait():
                start([self._next, *besides])
            return self._advance(present, before)
        drawn: list[mx.array | None] = [None] * len(self.rows)
        ready, late = self._drawable()
        self._draw(ready, logits, drawn)
        present = read(inputs)
        begins = not wait()
        if begins:
            start([logits, *besides, *[token for token in drawn if token is not None]])
        results = self._advance(present, before)
        self._draw(late, logits, drawn)
        self._next = mx.concatenate([token for token in drawn if token is not None])
        if begins:
            start([self._next])
        return results

    def _logits(self, inputs: mx.array, rider: Rider | None) -> mx.array:
        if rider is not None:
            return rider.logits(inputs, self._caches)
        logits: mx.array = self._network(inputs[:, None], cache=self._caches)[:, -1, :]
        return logits

    def caches_of(self, row: Row) -> list[Any]:
        """Caches of one row's own, with all tokens that it was handed out."""
        at = self.rows.index(row)
        if not all(type(cache) is BatchKVCache for cache in self._caches):
            return [cache.extract(at) for cache in self._caches]
        # Views: whoever keeps a part of them copies that part only.
        padding = int(self._caches[0].left_padding[at].item())
        return caches_with(
            [
                (
                    cache.keys[at : at + 1, :, padding : cache._idx],
                    cache.values[at : at + 1, :, padding : cache._idx],
                )
                for cache in self._caches
            ],
            self._caches[0]._idx - padding,
        )

    def remove(self, rows: set[Row]) -> None:
        """Takes rows out and frees their memory. Those that are not here are passed over."""
        keep = [at for at, row in enumerate(self.rows) if row not in rows]
        if len(keep) == len(self.rows):
            return
        self._handed_out -= rows
        if not keep:
            self.clear()
            return
        for cache in self._caches:
            cache.filter(keep)
        assert self._next is not None
        self._next = self._next[keep]
        self.rows = [self.rows[at] for at in keep]

    def clear(self) -> list[Row]:
        """Takes all rows out, for instance after a failed step."""
        rows, self.rows = self.rows, []
        self._caches, self._next = [], None
        self._handed_out.clear()
        return rows

    @property
    def nbytes(self) -> int:
        """Memory of the batch's KV."""
        return sum(int(cache.nbytes) for cache in self._caches)

    def _drawable(self) -> tuple[list[int], list[int]]:
        """Rows that can be drawn before the present token is known, and those that cannot."""
        late = [at for at, row in enumerate(self.rows) if row.draw.needs_context]
        waiting = set(late)
        return [at for at in range(len(self.rows)) if at not in waiting], late

    def _draw(self, indices: list[int], logits: mx.array, drawn: list[mx.array | None]) -> None:
        for at in indices:
            row = self.rows[at]
            token = row.draw.next(logits[at : at + 1], row.tokens)
            row.distribution = row.draw.take_logprobs()
            drawn[at] = token.astype(mx.uint32)

    def _advance(self, present: list[int], distributions: list[mx.array | None]) -> list[StepResult]:
        results = []
        for row, token, distribution in zip(self.rows, present, distributions, strict=True):
            if row in self._handed_out:
                self._handed_out.discard(row)
                continue
            following, row.distribution = row.distribution, distribution
            results.append(row.advance(token))
            row.distribution = following
        return results


def start(arrays: list[mx.array]) -> None:
    """Has the device compute arrays, and does not wait for them."""
    mx.async_eval(arrays)  # type: ignore[no-untyped-call]  # MLX has no types here


def read(tokens: mx.array) -> list[int]:
    """Waits for tokens."""
    values: Any = tokens.tolist()
    return list(values)
