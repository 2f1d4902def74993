"""One step of the engine: arrivals, places, prefill within the gap, joins, one token for everybody."""

from __future__ import annotations

import time
from collections.abc import Callable

from mlx_worker.accelerator import AcceleratorSettings
from mlx_worker.engine.admission import Admission
from mlx_worker.engine.decode import Decode
from mlx_worker.engine.inbox import Inbox
from mlx_worker.engine.limits import Limits
from mlx_worker.engine.prefill import Prefill
from mlx_worker.engine.request import GenerationRequest
from mlx_worker.engine.row import StepResult
from mlx_worker.engine.served_model import ModelStore
from mlx_worker.engine.work import Work
from mlx_worker.logs import Logger
from mlx_worker.sampling import Sampler, SamplingOptions


class StepLoop:
    """Used in the engine's thread only. `send` hands results to their readers, at any time."""

    def __init__(
        self,
        models: ModelStore,
        inbox: Inbox,
        settings: AcceleratorSettings,
        make_sampler: Callable[[SamplingOptions], Sampler],
        send: Callable[[list[StepResult]], None],
        logger: Logger,
    ) -> None:
        self.work = Work(models, inbox, settings, send, logger)
        self._admission = Admission(self.work, make_sampler)
        self._prefill = Prefill(self.work)
        self._decode = Decode(self.work)
        inbox.order(settings.warm_queue.priority_by_tokens)

    def apply(self, limits: Limits) -> None:
        """Takes new limits into use."""
        self.work.inbox.limits = limits
        self.work.models.hold_memory_limit()
        self.work.pace.most_chunk = limits.prefill_chunk
        self.work.pace.target_gap_seconds = limits.decode_gap_ms / 1000
        self.work.prefixes.most_bytes = self.work.warm_queue.most_bytes = limits.prefix_cache_bytes
        self.work.hold_limit()

    def configure(self, settings: AcceleratorSettings) -> None:
        """Takes new settings of the stages into use."""
        self.work.settings = settings
        self.work.speculation.settings = settings.speculation
        self.work.inbox.order(settings.warm_queue.priority_by_tokens)
        self.work.warm_queue.shortest_first = settings.warm_queue.priority_by_tokens
        if not settings.speculation.enabled:
            self.work.prefixes.tree.forget_logits()

    def admit(self) -> bool:
        """Looks at arrivals and cancellations and gives out places. False: there is nothing to run."""
        self._remove(self.work.inbox.take_cancelled())
        self._look_at_arrivals()
        self.work.inbox.held = self.work.warm
        return bool(self.work.begun or self.work.decoding)

    def _look_at_arrivals(self) -> None:
        self._admission.examine()
        self._admission.give_places()
        self._admission.warm()

    def step(self) -> None:
        """Prefills within the gap, then decodes one token for every row."""
        started = time.monotonic()
        decoding = self.work.decoding
        computed = self._prefill.run(decoding, self._look_at_arrivals)
        self._decode.join()
        self._decode.run()
        self.work.statistics.computed_tokens += computed
        self.work.hold_limit()
        self.work.pace.after_step(decoding, computed, time.monotonic() - started, self._decode.waited_for)
        self.work.inbox.held = self.work.warm

    @property
    def has_idle_work(self) -> bool:
        """Whether there is something to compute while nothing runs."""
        files = self.work.kv_files
        return (
            self.work.warm_queue.pending or len(self.work.idle) > 0 or (files is not None and files.pending)
        )

    def idle_slice(self) -> None:
        """One slice of work for later."""
        tokens = self.work.pace.tokens_in(self.work.settings.kv_prep.cache_warmup_ms / 1000)
        if self.work.warm_queue.pending:
            self.work.warm_queue.advance(tokens)
            self.work.hold_limit()
            return
        if not len(self.work.idle):
            assert self.work.kv_files is not None
            self.work.kv_files.save_one()
            return
        try:
            self.work.idle.slice(tokens)
        except Exception as error:
            self.work.logger.error("a preparation failed", error)
        self.work.hold_limit()
        self.work.statistics.prepared_prompts = self.work.idle.finished

    def clear(self) -> list[GenerationRequest]:
        """Takes out everything that has begun."""
        rows = [row for served in self.work.models for row in served.batch.clear()]
        requests = [row.request for row in rows] + list(self.work.begun)
        self.work.begun.clear()
        self.work.placed.clear()
        self.work.idle.forget()
        self.work.warm_queue.clear()
        return list(dict.fromkeys(requests))

    def _remove(self, requests: list[GenerationRequest]) -> None:
        if not requests:
            return
        gone = set(requests)
        for served in self.work.models:
            served.batch.remove({row for row in served.batch.rows if row.request in gone})
        for request in requests:
            self.work.forget(request)
