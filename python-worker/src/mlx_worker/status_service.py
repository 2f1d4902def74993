"""The calls besides Generate: tokens, models, statistics, drain."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

import psutil

from mlx_worker.engine.engine import Engine, active_memory_bytes
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb
from mlx_worker.generation.input import input_of
from mlx_worker.generation.prepare_service import PrepareService
from mlx_worker.lifecycle import Lifecycle
from mlx_worker.metrics import Outcome, WorkerMetrics
from mlx_worker.supervisor import RESTARTS_VARIABLE
from mlx_worker.tokenization import Tokenization

DEFAULT_INTERVAL_MS = 1000
LEAST_INTERVAL_MS = 100
DEFAULT_DRAIN_MS = 10_000


class StatusService:
    """Answers from what the other parts hold."""

    def __init__(
        self,
        worker_id: str,
        engine: Engine,
        prepare: PrepareService,
        tokenization: Tokenization,
        lifecycle: Lifecycle,
        metrics: WorkerMetrics,
        on_drain: Callable[[], Awaitable[None]],
    ) -> None:
        self._worker_id = worker_id
        self._engine = engine
        self._prepare = prepare
        self._tokenization = tokenization
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._on_drain = on_drain
        self._process = psutil.Process()
        self._started_at = time.monotonic()
        metrics.show("running_requests", lambda: engine.running)
        metrics.show("queued_requests", lambda: engine.queued)
        metrics.show("resident_memory_bytes", self.resident_memory_bytes)
        metrics.show("active_memory_bytes", active_memory_bytes)
        work = engine.work
        metrics.show("prefix_cache_bytes", lambda: work.prefixes.nbytes)
        metrics.show("prefix_cache_hits", lambda: work.statistics.prefix_hits)
        metrics.show("prefix_cache_misses", lambda: work.statistics.prefix_misses)
        metrics.show("prefix_cache_evictions", lambda: work.prefixes.evictions)
        metrics.show("reused_prompt_tokens", lambda: work.statistics.reused_tokens)
        metrics.show("warm_queue_size", lambda: engine.warm + len(prepare))
        metrics.show("warm_queue_queued_requests", lambda: work.statistics.warm_queued)
        metrics.show("prepared_requests", lambda: prepare.used)
        metrics.show("warm_queue_expired", lambda: work.statistics.warm_expired + prepare.expired)
        metrics.show("warm_queue_overflowed", lambda: work.statistics.warm_overflowed + prepare.overflowed)
        metrics.show("warmed_requests", lambda: work.statistics.warmed)
        metrics.show("speculation_hits", lambda: work.speculation.hits)
        metrics.show("speculation_misses", lambda: work.speculation.misses)
        metrics.show("prepared_prompts", lambda: work.statistics.prepared_prompts)
        metrics.show("heartbeat_age_ms", lambda: engine.seconds_in_step() * 1000)
        metrics.show("restarts", lambda: int(os.environ.get(RESTARTS_VARIABLE, "0")))
        metrics.show("draining", lambda: int(lifecycle.draining))

    async def tokenize(self, request: wpb.TokenizeRequest) -> wpb.TokenizeResponse:
        """Token ids of the input. Raises ServiceError as Generate does."""
        model = self._lifecycle.model_named(request.model)
        return wpb.TokenizeResponse(token_ids=await self._tokenization.encode(model, input_of(request)))

    async def watch(self, interval_ms: int) -> AsyncGenerator[wpb.StatsResponse]:
        """Statistics at once and then at each interval, until the worker stops."""
        interval = max(LEAST_INTERVAL_MS, interval_ms or DEFAULT_INTERVAL_MS) / 1000
        while True:
            yield self.stats()
            try:
                await asyncio.wait_for(self._lifecycle.stopping.wait(), interval)
                return
            except asyncio.TimeoutError:
                continue

    def stats(self) -> wpb.StatsResponse:
        """The worker at this moment."""
        return wpb.StatsResponse(
            worker_id=self._worker_id,
            running_requests=self._engine.running,
            queued_requests=self._engine.queued,
            resident_memory_bytes=self.resident_memory_bytes(),
            active_memory_bytes=active_memory_bytes(),
            requests_total=self._metrics.requests_total,
            failed_requests_total=self._metrics.requests[Outcome.FAILED],
            cancelled_requests_total=self._metrics.requests[Outcome.CANCELLED],
            generated_tokens_total=self._metrics.generated_tokens,
            uptime_seconds=time.monotonic() - self._started_at,
            draining=self._lifecycle.draining,
            pid=os.getpid(),
            queued_tokens=self._engine.queued_tokens,
            restarts=int(os.environ.get(RESTARTS_VARIABLE, "0")),
            heartbeat_age_ms=self._engine.seconds_in_step() * 1000,
            prefix_cache=self.prefix_cache(),
            warm_queue=self.warm_queue(),
            speculation=self.speculation(),
            ttft=self._metrics.ttft_parts(),
            accelerator_enabled=self._prepare.accelerator.enabled,
        )

    def prefix_cache(self) -> wpb.PrefixCacheStats:
        """What is kept of earlier prompts."""
        kept, did = self._engine.work.prefixes, self._engine.work.statistics
        return wpb.PrefixCacheStats(
            bytes=kept.nbytes,
            entries=kept.entries,
            pinned=kept.pinned,
            evictions=kept.evictions,
            hits=did.prefix_hits,
            misses=did.prefix_misses,
            reused_tokens=did.reused_tokens,
        )

    def warm_queue(self) -> wpb.WarmQueueStats:
        """What is prefilled ahead of its place in the batch."""
        did = self._engine.work.statistics
        return wpb.WarmQueueStats(
            size=self._engine.warm + len(self._prepare),
            max_size=self._prepare.accelerator.warm_queue.max_size,
            queued=did.warm_queued,
            warmed=did.warmed,
            prepared=self._prepare.used,
            expired=did.warm_expired + self._prepare.expired,
            overflowed=did.warm_overflowed + self._prepare.overflowed,
        )

    def speculation(self) -> wpb.SpeculationStats:
        """What was kept ready, and what was guessed."""
        guessed = self._engine.work.speculation
        return wpb.SpeculationStats(
            hits=guessed.hits,
            misses=guessed.misses,
            candidates=guessed.candidates,
            allowlisted=guessed.allowlisted,
            predictions=guessed.predictions,
            predictions_right=guessed.predictions_right,
            prepared=self._engine.work.statistics.prepared_prompts,
        )

    async def drain(self, timeout_ms: int) -> wpb.DrainResponse:
        """Refuses new work, waits for running streams and says how many are left."""
        self._lifecycle.draining = True
        await self._on_drain()
        remaining = await self._lifecycle.drain((timeout_ms or DEFAULT_DRAIN_MS) / 1000)
        return wpb.DrainResponse(remaining_streams=remaining)

    def resident_memory_bytes(self) -> int:
        """Resident memory of the process."""
        return int(self._process.memory_info().rss)
