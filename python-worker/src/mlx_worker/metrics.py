"""All metrics of the worker, in one table."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from mlx_worker.engine.request import Completion, GenerationRequest
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb

MILLISECONDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000)
PREFIX = "mlx_serving_worker_"

# (kind, name, help, labels)
TABLE: tuple[tuple[type[Counter] | type[Gauge] | type[Histogram], str, str, tuple[str, ...]], ...] = (
    (Counter, "requests_total", "Finished generations.", ("outcome",)),
    (Counter, "prompt_tokens_total", "Prompt tokens of generations that went well.", ()),
    (Counter, "generated_tokens_total", "Tokens sent to readers.", ()),
    (Histogram, "ttft_ms", "Arrival to first token.", ()),
    (Histogram, "queue_ms", "Time in the queue.", ()),
    (Histogram, "prefill_ms", "Admission to first token.", ()),
    (Histogram, "request_ms", "Arrival to end, of generations that went well.", ()),
    (Histogram, "step_ms", "One step of the batch.", ()),
    (Gauge, "running_requests", "Requests in the batch.", ()),
    (Gauge, "queued_requests", "Requests that wait.", ()),
    (Gauge, "resident_memory_bytes", "Resident memory of the process.", ()),
    (Gauge, "active_memory_bytes", "Memory that MLX has allocated and not yet freed.", ()),
    (Histogram, "tokenize_ms", "Time of tokenisation.", ()),
    (Histogram, "first_emit_ms", "Draw of the first token to its way to the reader.", ()),
    (Gauge, "prefix_cache_bytes", "Memory of kept prompts.", ()),
    (Gauge, "prefix_cache_hits", "Requests that began with kept tokens.", ()),
    (Gauge, "prefix_cache_misses", "Requests that might have, and did not.", ()),
    (Gauge, "prefix_cache_evictions", "Kept entries that had to go.", ()),
    (Gauge, "reused_prompt_tokens", "Prompt tokens that were not computed again.", ()),
    (Gauge, "warm_queue_size", "Requests that are prefilled ahead of their place.", ()),
    (Gauge, "warm_queue_queued_requests", "Requests that might be warmed.", ()),
    (Gauge, "prepared_requests", "Requests that Prepare announced and that came in time.", ()),
    (Gauge, "warm_queue_expired", "Requests that waited too long to be warmed, or did not come in time.", ()),
    (Gauge, "warm_queue_overflowed", "Requests that found the warm queue full.", ()),
    (Gauge, "warmed_requests", "Requests that had their first token before their place.", ()),
    (Gauge, "speculation_hits", "Prompts whose last position was ready.", ()),
    (Gauge, "speculation_misses", "Prompts whose last position should have been ready, and was not.", ()),
    (Gauge, "prepared_prompts", "Prompts computed in idle time.", ()),
    (Gauge, "heartbeat_age_ms", "Time since the engine last got on.", ()),
    (Gauge, "restarts", "How often the supervisor has started this worker anew.", ()),
    (Gauge, "draining", "1 while new requests are refused.", ()),
)


class Outcome(Enum):
    """How a generation ended; the names are those of StreamOutcome."""

    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


class TtftSums:
    """The parts of the time to first token of all requests, in milliseconds."""

    def __init__(self) -> None:
        self.requests = 0
        self.queue = self.tokenize = self.prefill = self.first_emit = 0.0

    def add(self, request: GenerationRequest) -> None:
        """A request that has had its first token."""
        self.requests += 1
        self.queue += request.queue_ms
        self.tokenize += request.tokenize_ms
        self.prefill += request.prefill_ms
        self.first_emit += request.first_emit_ms


class WorkerMetrics:
    """Counts in the event loop's thread; `on_step` may be called from any."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests: dict[Outcome, int] = dict.fromkeys(Outcome, 0)
        self.generated_tokens = 0
        self._parts = TtftSums()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for kind, name, help_text, labels in TABLE:
            if kind is Counter:
                self._counters[name] = Counter(PREFIX + name, help_text, labels, registry=self.registry)
            elif kind is Gauge:
                self._gauges[name] = Gauge(PREFIX + name, help_text, labels, registry=self.registry)
            else:
                self._histograms[name] = Histogram(
                    PREFIX + name, help_text, labels, registry=self.registry, buckets=MILLISECONDS
                )

    def show(self, name: str, read: Callable[[], float]) -> None:
        """Lets a gauge read its value when it is scraped."""
        self._gauges[name].set_function(read)

    def on_step(self, seconds: float) -> None:
        """One step of the batch took this long."""
        self._histograms["step_ms"].observe(seconds * 1000)

    def on_tokens(self, count: int) -> None:
        """Tokens are on their way to a reader."""
        self.generated_tokens += count
        self._counters["generated_tokens_total"].inc(count)

    def on_finished(
        self, outcome: Outcome, request: GenerationRequest, completion: Completion | None
    ) -> None:
        """A generation ended; times are observed only when it went well."""
        self.requests[outcome] += 1
        self._counters["requests_total"].labels(outcome.value).inc()
        if request.first_read_at is not None:
            self._parts.add(request)
            self._histograms["tokenize_ms"].observe(request.tokenize_ms)
            self._histograms["first_emit_ms"].observe(request.first_emit_ms)
            self._histograms["ttft_ms"].observe((request.first_read_at - request.arrived_at) * 1000)
        if outcome is Outcome.OK and completion is not None:
            self._counters["prompt_tokens_total"].inc(len(request.prompt))
            self._histograms["queue_ms"].observe(completion.queue_ms)
            self._histograms["prefill_ms"].observe(completion.prefill_ms)
            self._histograms["request_ms"].observe((time.monotonic() - request.arrived_at) * 1000)

    def ttft_parts(self) -> wpb.TtftParts:
        """Where the time to first token goes, in means."""
        parts, count = self._parts, max(1, self._parts.requests)
        return wpb.TtftParts(
            requests=parts.requests,
            queue_ms=parts.queue / count,
            tokenize_ms=parts.tokenize / count,
            prefill_ms=parts.prefill / count,
            first_emit_ms=parts.first_emit / count,
        )

    @property
    def requests_total(self) -> int:
        """Generations that ended, in whatever way."""
        return sum(self.requests.values())
