"""Prompts on their way to the first token, within the gap of the streams that run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import mlx.core as mx

from mlx_worker.engine.follow_up import prepare_following
from mlx_worker.engine.prefill_job import PrefillJob
from mlx_worker.engine.work import Begun, Riding, Work


class Prefill:
    """Computes what has begun, the next in order first. Engine's thread only."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def run(self, decoding: int, look_at_arrivals: Callable[[], None] = lambda: None) -> int:
        """Computes prompts within what the running streams' gap leaves. Returns how many tokens.

        Where a portion can share the pass of the streams, it is left in `work.riding` for that pass.
        `look_at_arrivals` is called between two prompts when somebody has come: they may be more urgent.
        """
        pending = [begun for begun in self._work.begun.values() if begun.job is not None]
        if not pending and not self._work.warm_queue.pending:
            return 0
        left = self._work.pace.chunk(decoding, len(pending))
        computed = 0
        while pending and left > 0 and self._work.riding is None:
            begun = min(pending, key=lambda begun: self._work.inbox.score(begun.entry))
            try:
                spent = self._advance(begun, left)
                self._work.failed_in_a_row = 0
            except Exception as error:
                self._work.failed([begun.request], error)
                spent = left
            computed += spent
            left -= max(1, spent)
            if self._work.inbox.has_unseen:
                look_at_arrivals()
            pending = [begun for begun in self._work.begun.values() if begun.job is not None]
        if self._work.riding is not None:
            return computed - self._work.riding.most
        return computed + (self._work.warm_queue.advance(left) if left > 0 else 0)

    def _advance(self, begun: Begun, most: int) -> int:
        job, request = begun.job, begun.request
        assert job is not None
        if not begun.started:
            begun.started = True
            request.begun_at = time.monotonic()
            job, logits = self._go_on_warm(begun) or (job, self._look_up(begun, job))
            if logits is not None:
                self._first_token(begun, job, logits)
                return 0
        portion = self._work.pace.portion(most, job.remaining)
        if job.rode:
            # Its end comes in a pass of its own, after one that is under way: the shorter, the less a gap.
            portion = max(1, min(most, job.remaining - 1))
        if self._may_ride(begun, portion, job.remaining):
            self._work.riding = Riding(begun, job, portion)
            return portion
        count, logits = job.advance(portion)
        begun.entry.cost = job.remaining
        self._work.inbox.charge(request.tenant, count)
        if logits is not None:
            self._first_token(begun, job, logits)
        return count

    def _may_ride(self, begun: Begun, portion: int, remaining: int) -> bool:
        """Whether a portion goes along with the rows: not the last one, whose token is waited for."""
        served = begun.served
        return served.forward.shares and len(served.batch) > 0 and 1 < portion < remaining

    def _go_on_warm(self, begun: Begun) -> tuple[PrefillJob, mx.array | None] | None:
        """Takes over what was computed while the request waited elsewhere. None: there is nothing."""
        ready = self._work.warm_queue.take(begun.request)
        if ready is None:
            return None
        begun.job, logits = ready
        begun.request.note("stage:warmed")
        self._work.statistics.warmed += 1
        self._count(begun, begun.job, known=False)
        return begun.job, logits

    def _look_up(self, begun: Begun, job: PrefillJob) -> mx.array | None:
        stages = begun.request.stages
        reads = stages.kv_prep or stages.speculation
        whole = stages.speculation and begun.request.worth_keeping
        logits = job.begin(self._work.prefixes if reads else None, whole=whole)
        if not stages.kv_prep and logits is None and job.done:
            # Speculation alone reuses whole prompts only.
            job.caches, job.done, job.cached = job.served.new_caches(), 0, 0
        self._count(begun, job, known=logits is not None)
        return logits

    def _count(self, begun: Begun, job: PrefillJob, known: bool) -> None:
        """What was known of a prompt. `known`: all of it, its last position included."""
        request, statistics = begun.request, self._work.statistics
        begun.row.cached_tokens = job.cached
        if request.stages.kv_prep or known:
            statistics.prefix_hits += job.cached > 0
            statistics.prefix_misses += job.cached == 0
            statistics.reused_tokens += job.cached
        if request.worth_keeping:
            self._work.speculation.count(known)
            request.note("speculation:hit" if known else "speculation:miss")
        if known:
            request.note("stage:speculated")

    def _first_token(self, begun: Begun, job: PrefillJob, logits: mx.array) -> None:
        """Draws the first token and hands it out at once; then keeps what is worth keeping."""
        row, request = begun.row, begun.request
        begun.job = None
        assert job.caches is not None
        if request not in self._work.placed and not request.has("stage:warmed"):
            self._work.statistics.warmed += 1
            request.note("stage:warmed")
        drawn = row.draw.next(logits, row.tokens)
        row.distribution = row.draw.take_logprobs()
        read: Any = drawn.item()
        token = int(read)
        result = row.advance(token)
        row.distribution = None
        self._work.send([result])
        row.caches = job.caches
        worth = request.worth_keeping
        if request.stages.kv_prep or worth:
            job.keep(self._work.prefixes, logits if worth else None)
        if result.end is not None:
            self._work.forget(request)
            prepare_following(self._work, request, begun.served)
