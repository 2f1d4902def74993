"""One step of the engine: arrivals, places, prefill within the gap, joins, one token for everybody."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from mlx_worker.accelerator import AcceleratorSettings
from mlx_worker.engine.answer_text import AnswerText
from mlx_worker.engine.draw import Draw
from mlx_worker.engine.idle_work import IdleWork, Preparation
from mlx_worker.engine.inbox import Entry, Inbox
from mlx_worker.engine.limits import Limits
from mlx_worker.engine.pace import Pace
from mlx_worker.engine.prefill_job import PrefillJob
from mlx_worker.engine.prefix_cache import PrefixCache
from mlx_worker.engine.request import GenerationRequest
from mlx_worker.engine.row import Row, StepResult
from mlx_worker.engine.served_model import ModelStore, ServedModel
from mlx_worker.engine.speculation import Speculation
from mlx_worker.engine.stage_statistics import StageStatistics
from mlx_worker.engine.tool_text import ToolText
from mlx_worker.errors import ServiceError
from mlx_worker.logs import Logger
from mlx_worker.sampling import Sampler, SamplingOptions

# So many requests join a batch without waiting for others.
JOIN_TOGETHER = 4
# So many gaps (5 s with the default of 50 ms) a first token may be ahead of the second in a burst of callers.
MOST_GAPS_BEFORE_DECODE = 100


@dataclass(eq=False)
class Begun:
    """A request between the queue and the batch. `job` is None once it has its first token."""

    entry: Entry
    served: ServedModel
    row: Row
    job: PrefillJob | None
    started: bool = False

    @property
    def request(self) -> GenerationRequest:
        """The request itself."""
        return self.entry.work


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
        self.models = models
        self.statistics = StageStatistics()
        self.prefixes = PrefixCache(inbox.limits.prefix_cache_bytes)
        self.speculation = Speculation(settings.speculation)
        self.idle = IdleWork(self.prefixes)
        self.failed_in_a_row = 0
        self.last_failure: Exception | None = None
        self._settings = settings
        self._inbox = inbox
        self._make_sampler = make_sampler
        self._send = send
        self._logger = logger
        self._begun: dict[GenerationRequest, Begun] = {}
        self._placed: dict[GenerationRequest, int] = {}
        self._pace = Pace(inbox.limits.decode_gap_ms / 1000, inbox.limits.prefill_chunk)
        inbox.order(settings.warm_queue.priority_by_tokens)

    @property
    def decoding(self) -> int:
        """Requests in the batches."""
        return sum(len(served.batch) for served in self.models)

    @property
    def running(self) -> int:
        """Requests that hold a place."""
        return len(self._placed)

    @property
    def warm(self) -> int:
        """Requests that are prefilled ahead of their place."""
        return sum(1 for request in self._begun if request not in self._placed)

    @property
    def busy_models(self) -> frozenset[str]:
        """Models on which requests run."""
        begun = {begun.served.id for begun in self._begun.values()}
        return frozenset(begun | {served.id for served in self.models if len(served.batch)})

    def apply(self, limits: Limits) -> None:
        """Takes new limits into use."""
        self._inbox.limits = limits
        self._pace.most_chunk = limits.prefill_chunk
        self._pace.target_gap_seconds = limits.decode_gap_ms / 1000
        self.prefixes.most_bytes = limits.prefix_cache_bytes

    def configure(self, settings: AcceleratorSettings) -> None:
        """Takes new settings of the stages into use."""
        self._settings = settings
        self.speculation.settings = settings.speculation
        self._inbox.order(settings.warm_queue.priority_by_tokens)
        if not settings.speculation.enabled:
            self.prefixes.tree.forget_logits()

    def admit(self) -> bool:
        """Looks at arrivals and cancellations and gives out places. False: there is nothing to run."""
        self._remove(self._inbox.take_cancelled())
        self._examine()
        self._give_places()
        self._warm()
        self._inbox.held = self.warm
        return bool(self._begun or self.decoding)

    def step(self) -> None:
        """Prefills within the gap, then decodes one token for every row."""
        started = time.monotonic()
        decoding = self.decoding
        computed = self._prefill(decoding)
        self._join()
        self._decode()
        self.statistics.computed_tokens += computed
        self._pace.after_step(decoding, computed, time.monotonic() - started)
        self._inbox.held = self.warm

    def idle_slice(self) -> None:
        """One slice of work for later."""
        tokens = self._pace.tokens_in(self._settings.kv_prep.cache_warmup_ms / 1000)
        try:
            self.idle.slice(tokens)
        except Exception as error:
            self._logger.error("a preparation failed", error)
        self.statistics.prepared_prompts = self.idle.finished

    def clear(self) -> list[GenerationRequest]:
        """Takes out everything that has begun."""
        rows = [row for served in self.models for row in served.batch.clear()]
        requests = [row.request for row in rows] + list(self._begun)
        self._begun.clear()
        self._placed.clear()
        self.idle.forget()
        return list(dict.fromkeys(requests))

    def _remove(self, requests: list[GenerationRequest]) -> None:
        if not requests:
            return
        gone = set(requests)
        for served in self.models:
            served.batch.remove({row for row in served.batch.rows if row.request in gone})
        for request in requests:
            self._forget(request)

    def _forget(self, request: GenerationRequest) -> None:
        self._begun.pop(request, None)
        self._placed.pop(request, None)

    def _end(self, request: GenerationRequest, error: ServiceError) -> None:
        self._forget(request)
        self._send([StepResult(request, None, error)])

    def _examine(self) -> None:
        """What is known of each new prompt: it counts as shorter by that."""
        for entry in self._inbox.take_unseen():
            request = entry.work
            try:
                served = self.models.named(request.model)
            except ServiceError as error:
                if self._inbox.take(request):
                    self._end(request, error)
                continue
            self._look_at(entry, served)

    def _look_at(self, entry: Entry, served: ServedModel) -> None:
        """Once for each request, also for one that arrives while places are given out."""
        request = entry.work
        if request.examined:
            return
        request.examined = True
        self._learn(request, served)
        if request.stages.kv_prep or request.stages.speculation:
            known = self.prefixes.known_length(served.can_be_cut, served.id, request.tenant, request.prompt)
            entry.cost = max(1, len(request.prompt) - known)

    def _learn(self, request: GenerationRequest, served: ServedModel) -> None:
        if not request.stages.speculation:
            return
        if request.allow_speculation:
            self.speculation.allow(served.id, request.prompt)
        if self.speculation.observe(served.id, request.tenant, request.prompt):
            request.worth_keeping = True

    def _give_places(self) -> None:
        while len(self._placed) < self._inbox.limits.max_batch:
            warm = [begun for begun in self._begun.values() if begun.request not in self._placed]
            first = min(warm, key=lambda begun: self._inbox.score(begun.entry), default=None)
            entry = self._inbox.best()
            if first is None and entry is None:
                return
            if first is not None and (
                entry is None or self._inbox.score(first.entry) <= self._inbox.score(entry)
            ):
                self._placed[first.request] = self._bytes_for(first.request, first.served)
            elif entry is not None and not self._begin(entry, placed=True):
                return

    def _warm(self) -> None:
        """Begins requests that have no place yet, so that their first token need not wait for one."""
        if not len(self._inbox):
            return
        settings, now = self._settings.warm_queue, time.monotonic()

        def may_be_warmed(request: GenerationRequest) -> bool:
            return request.stages.warm_queue and (now - request.arrived_at) * 1000 <= settings.ttl_ms

        while (entry := self._inbox.best(may_be_warmed)) is not None:
            if self.warm >= settings.max_size:
                self.statistics.warm_overflowed += 1
                return
            if not self._begin(entry, placed=False):
                return

    def _begin(self, entry: Entry, placed: bool) -> bool:
        """Takes a request out of the queue. False: it must wait for memory."""
        request = entry.work
        try:
            served = self.models.named(request.model)
            self._look_at(entry, served)
            if not self._has_memory(request, served):
                return False
            if not self._inbox.take(request):
                return True
            row = self._row_for(request, served)
        except Exception as error:
            self._inbox.take(request)
            self._refuse(request, error)
            return True
        served.used_at = time.monotonic()
        job = PrefillJob(served, request.tenant, request.prompt)
        self._begun[request] = Begun(entry, served, row, job)
        if placed:
            self._placed[request] = self._bytes_for(request, served)
            waited = (time.monotonic() - request.arrived_at) * 1000
            if request.stages.warm_queue and waited > self._settings.warm_queue.ttl_ms:
                self.statistics.warm_expired += 1
        return True

    def _refuse(self, request: GenerationRequest, error: Exception) -> None:
        if isinstance(error, ServiceError):
            self._end(request, error)
            return
        self._logger.error("a request could not be admitted", error, request_id=request.id)
        self._end(request, ServiceError("INTERNAL"))

    def _row_for(self, request: GenerationRequest, served: ServedModel) -> Row:
        model = served.model
        draw = Draw(request.options, self._make_sampler(request.options), request.constraint)
        calls_tools = request.tools and model.tokenizer.has_tool_calling
        tools = ToolText(model.tokenizer, request.tools) if calls_tools else None
        text = AnswerText(model.tokenizer.detokenizer, request.options.stop, tools)
        most = min(request.options.max_tokens, model.context_length - len(request.prompt))
        return Row(
            request=request,
            text=text,
            draw=draw,
            most_tokens=most,
            end_tokens=model.end_tokens,
            tokens=list(request.prompt),
        )

    def _bytes_for(self, request: GenerationRequest, served: ServedModel) -> int:
        return (len(request.prompt) + request.options.max_tokens) * served.bytes_per_token

    def _has_memory(self, request: GenerationRequest, served: ServedModel) -> bool:
        """Evicts kept prompts for a request. Raises ServiceError when it could not even run alone."""
        limit = self._inbox.limits.memory_limit_bytes
        if not limit:
            return True
        needed = self._bytes_for(request, served)
        free = limit - self.models.weight_bytes - needed
        if free < 0:
            raise ServiceError("MEMORY_LIMIT", needed=needed + self.models.weight_bytes)
        begun = sum(self._bytes_for(b.request, b.served) for b in self._begun.values())
        decoding = sum(
            self._bytes_for(row.request, served) for served in self.models for row in served.batch.rows
        )
        free -= begun + decoding
        if free < self.prefixes.nbytes:
            self.prefixes.trim(max(0, free))
        return free >= self.prefixes.nbytes or not (begun or decoding)

    def _prefill(self, decoding: int) -> int:
        """Computes prompts within what the running streams' gap leaves. Returns how many tokens."""
        pending = [begun for begun in self._begun.values() if begun.job is not None]
        if not pending:
            return 0
        left = self._pace.chunk(decoding, len(pending))
        computed = 0
        while pending and left > 0:
            begun = min(pending, key=lambda begun: self._inbox.score(begun.entry))
            try:
                spent = self._advance(begun, left)
                self.failed_in_a_row = 0
            except Exception as error:
                self._failed([begun.request], error)
                spent = left
            computed += spent
            left -= max(1, spent)
            pending = [begun for begun in self._begun.values() if begun.job is not None]
        return computed

    def _advance(self, begun: Begun, most: int) -> int:
        job, request = begun.job, begun.request
        assert job is not None
        if not begun.started:
            begun.started = True
            request.begun_at = time.monotonic()
            logits = self._look_up(begun, job)
            if logits is not None:
                self._first_token(begun, job, logits)
                return 0
        count, logits = job.advance(most)
        begun.entry.cost = job.remaining
        self._inbox.charge(request.tenant, count)
        if logits is not None:
            self._first_token(begun, job, logits)
        return count

    def _look_up(self, begun: Begun, job: PrefillJob) -> mx.array | None:
        request, stages = begun.request, begun.request.stages
        reads = stages.kv_prep or stages.speculation
        worth = request.worth_keeping
        logits = job.begin(self.prefixes if reads else None, whole=stages.speculation and worth)
        if not stages.kv_prep and logits is None and job.done:
            # Speculation alone reuses whole prompts only.
            job.caches, job.done, job.cached = job.served.new_caches(), 0, 0
        begun.row.cached_tokens = job.cached
        if stages.kv_prep or logits is not None:
            self.statistics.prefix_hits += job.cached > 0
            self.statistics.prefix_misses += job.cached == 0
            self.statistics.reused_tokens += job.cached
        if worth:
            self.speculation.count(logits is not None)
            request.note("speculation:hit" if logits is not None else "speculation:miss")
        if logits is not None:
            request.note("stage:speculated")
        return logits

    def _first_token(self, begun: Begun, job: PrefillJob, logits: mx.array) -> None:
        """Draws the first token and hands it out at once; then keeps what is worth keeping."""
        row, request = begun.row, begun.request
        begun.job = None
        assert job.caches is not None
        if request not in self._placed:
            self.statistics.warmed += 1
            request.note("stage:warmed")
        drawn = row.draw.next(logits, row.tokens)
        row.distribution = row.draw.take_logprobs()
        read: Any = drawn.item()
        token = int(read)
        result = row.advance(token)
        row.distribution = None
        self._send([result])
        row.caches = job.caches
        worth = request.worth_keeping
        if request.stages.kv_prep or worth:
            job.keep(self.prefixes, logits if worth else None)
        if result.end is not None:
            self._forget(request)
            self._after(request, begun.served)

    def _join(self) -> None:
        for served in self.models:
            ready = [
                begun
                for begun in self._begun.values()
                if begun.job is None and begun.served is served and begun.request in self._placed
            ]
            if not ready or not self._is_worth_joining(ready):
                continue
            try:
                served.batch.join([begun.row for begun in ready])
            except Exception as error:
                self._failed([begun.request for begun in ready], error)
                self._failed([row.request for row in served.batch.clear()], error)
            for begun in ready:
                self._begun.pop(begun.request, None)

    def _is_worth_joining(self, ready: list[Begun]) -> bool:
        """Callers who come together join together: a join copies everybody's KV.

        When nobody decodes yet, the prompts that wait come first: with decode steps in between, all of their
        callers would wait longer. It is one longer gap for each of these streams, and bounded.
        """
        may_begin = len(self._inbox) and len(self._placed) < self._inbox.limits.max_batch
        if not may_begin and all(begun.job is None for begun in self._begun.values()):
            return True
        first = min(begun.request.first_drawn_at or 0.0 for begun in ready)
        gaps = (time.monotonic() - first) * 1000 / self._inbox.limits.decode_gap_ms
        if not self.decoding:
            return gaps >= MOST_GAPS_BEFORE_DECODE
        return len(ready) >= JOIN_TOGETHER or gaps >= 1

    def _decode(self) -> None:
        for served in self.models:
            if not len(served.batch):
                continue
            try:
                results = served.batch.step()
                self.failed_in_a_row = 0
            except Exception as error:
                self._failed([row.request for row in served.batch.clear()], error)
                continue
            self._send(results)
            self._finish_rows(served, {result.request for result in results if result.end is not None})

    def _finish_rows(self, served: ServedModel, ended: set[GenerationRequest]) -> None:
        if not ended:
            return
        rows = {row for row in served.batch.rows if row.request in ended}
        for row in rows:
            self._keep_turn(served, row)
        served.batch.remove(rows)
        for row in rows:
            self._inbox.charge(row.request.tenant, row.count)
            self._forget(row.request)
            self._after(row.request, served)

    def _keep_turn(self, served: ServedModel, row: Row) -> None:
        """The finished turn is the beginning of the next one."""
        if not row.request.stages.kv_prep or row.draw.fault is not None:
            return
        try:
            self.prefixes.keep(
                served.can_be_cut, served.id, row.request.tenant, row.tokens, served.batch.caches_of(row)
            )
        except Exception as error:
            self._logger.error("a finished turn could not be kept", error, request_id=row.request.id)

    def _after(self, request: GenerationRequest, served: ServedModel) -> None:
        """Prepares the prompt that probably follows this one."""
        settings = self._settings
        if not (settings.kv_prep.enabled and settings.kv_prep.prefetch_enabled):
            return
        if not request.stages.speculation:
            return
        following = self.speculation.next_after(served.id, request.tenant, request.prompt)
        if following is not None and len(self.idle) < settings.speculation.max_candidates:
            known = self.prefixes.known_length(served.can_be_cut, served.id, request.tenant, following)
            if known < len(following) - 1:
                self.idle.add(Preparation(PrefillJob(served, request.tenant, list(following))))

    def _failed(self, requests: list[GenerationRequest], error: Exception) -> None:
        self.failed_in_a_row += 1
        self.last_failure = error
        self._logger.error("a step failed", error, requests=len(requests), in_a_row=self.failed_in_a_row)
        for request in requests:
            self._end(request, ServiceError("STEP_FAILED"))
