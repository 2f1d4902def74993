"""From the first token to the last: who joins the batch, one token for everybody, and who has ended."""

from __future__ import annotations

import time

from mlx_worker.engine.follow_up import prepare_following
from mlx_worker.engine.request import GenerationRequest
from mlx_worker.engine.row import Row, StepResult
from mlx_worker.engine.served_model import ServedModel
from mlx_worker.engine.work import Begun, Riding, Work

# So many requests join a batch without waiting for others.
JOIN_TOGETHER = 4
# So many gaps (5 s with the default of 50 ms) a first token may be ahead of the second in a burst of callers.
MOST_GAPS_BEFORE_DECODE = 100


class Decode:
    """Runs the batches. Engine's thread only."""

    def __init__(self, work: Work) -> None:
        self._work = work
        # Prompt tokens in the pass that has begun, and in the one whose tokens the last step has read.
        self._under_way = 0
        self.waited_for = 0

    def join(self) -> None:
        for served in self._work.models:
            ready = [
                begun
                for begun in self._work.begun.values()
                if begun.job is None and begun.served is served and begun.request in self._work.placed
            ]
            if not ready or not self._is_worth_joining(ready):
                continue
            try:
                served.batch.join([begun.row for begun in ready])
            except Exception as error:
                self._work.failed([begun.request for begun in ready], error)
                self._work.failed([row.request for row in served.batch.clear()], error)
            for begun in ready:
                self._work.begun.pop(begun.request, None)

    def _is_worth_joining(self, ready: list[Begun]) -> bool:
        """Callers who come together join together: a join copies everybody's KV.

        When nobody decodes yet, the prompts that wait come first: with decode steps in between, all of their
        callers would wait longer. It is one longer gap for each of these streams, and bounded.
        """
        if not self._may_begin and all(begun.job is None for begun in self._work.begun.values()):
            return True
        first = min(begun.request.first_drawn_at or 0.0 for begun in ready)
        gaps = (time.monotonic() - first) * 1000 / self._work.inbox.limits.decode_gap_ms
        if not self._work.decoding:
            return gaps >= MOST_GAPS_BEFORE_DECODE
        return len(ready) >= JOIN_TOGETHER or gaps >= 1

    @property
    def _may_begin(self) -> bool:
        """Whether somebody who waits can still come in before anybody ends."""
        has_place = len(self._work.placed) < self._work.inbox.limits.max_batch
        return len(self._work.inbox) > 0 and has_place and not self._work.lacks_memory

    def run(self) -> None:
        riding, self._work.riding = self._work.riding, None
        self.waited_for, self._under_way = self._under_way, 0
        for served in self._work.models:
            if not len(served.batch):
                continue
            rider = riding if riding is not None and riding.begun.served is served else None
            try:
                results = self._pass(served, rider)
                self._work.failed_in_a_row = 0
            except Exception as error:
                failed = [row.request for row in served.batch.clear()]
                self._work.failed([*failed, *([] if rider is None else [rider.begun.request])], error)
                continue
            self._work.send(results)
            self._finish_rows(served, {result.request for result in results if result.end is not None})

    def _pass(self, served: ServedModel, rider: Riding | None) -> list[StepResult]:
        done = 0 if rider is None else rider.job.done
        results = served.batch.step(rider, lambda: self._work.inbox.has_unseen)
        if rider is not None:
            self._under_way = rider.job.done - done
            rider.begun.entry.cost = rider.job.remaining
            self._work.inbox.charge(rider.begun.request.tenant, self._under_way)
            self._work.statistics.computed_tokens += self._under_way
        return results

    def _finish_rows(self, served: ServedModel, ended: set[GenerationRequest]) -> None:
        if not ended:
            return
        rows = {row for row in served.batch.rows if row.request in ended}
        for row in rows:
            self._keep_turn(served, row)
        served.batch.remove(rows)
        for row in rows:
            self._work.inbox.charge(row.request.tenant, row.count)
            self._work.forget(row.request)
            prepare_following(self._work, row.request, served)

    def _keep_turn(self, served: ServedModel, row: Row) -> None:
        """The finished turn is the beginning of the next one."""
        if not row.request.stages.kv_prep or row.draw.fault is not None:
            return
        try:
            self._work.prefixes.keep(
                served.can_be_cut, served.id, row.request.tenant, row.tokens, served.batch.caches_of(row)
            )
        except Exception as error:
            self._work.logger.error("a finished turn could not be kept", error, request_id=row.request.id)
