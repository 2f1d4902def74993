"""What has begun and where it stands, with all that the parts of a step share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import BatchKVCache

from mlx_worker.accelerator import AcceleratorSettings
from mlx_worker.engine.idle_work import IdleWork
from mlx_worker.engine.inbox import Entry, Inbox
from mlx_worker.engine.kv_files import KvFiles
from mlx_worker.engine.pace import Pace
from mlx_worker.engine.prefill_job import PrefillJob
from mlx_worker.engine.prefix_cache import PrefixCache
from mlx_worker.engine.request import GenerationRequest
from mlx_worker.engine.row import Row, StepResult
from mlx_worker.engine.served_model import ModelStore, ServedModel
from mlx_worker.engine.speculation import Speculation
from mlx_worker.engine.stage_statistics import StageStatistics
from mlx_worker.engine.warm_queue import WarmQueue
from mlx_worker.errors import ServiceError
from mlx_worker.logs import Logger

# mlx-lm's caches grow by so many positions at a time.
KV_STEP = int(BatchKVCache.step)


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


@dataclass(eq=False)
class Riding:
    """What of a prompt is computed in this step's pass of the rows that decode: up to `most` tokens."""

    begun: Begun
    job: PrefillJob
    most: int

    @property
    def arrays(self) -> list[mx.array]:
        """What is to be computed besides the rows' logits."""
        return self.job.arrays

    def logits(self, inputs: mx.array, row_caches: list[Any]) -> mx.array:
        """The rows' logits."""
        return self.job.ride(self.most, inputs, row_caches)


class Work:
    """Used in the engine's thread only. `send` hands results to their readers, at any time.

    `placed` are the requests that hold a place in a batch.
    """

    def __init__(
        self,
        models: ModelStore,
        inbox: Inbox,
        settings: AcceleratorSettings,
        send: Callable[[list[StepResult]], None],
        logger: Logger,
    ) -> None:
        self.models = models
        models.on_gone = self.forget_model
        self.inbox = inbox
        self.settings = settings
        self.send = send
        self.logger = logger
        self.statistics = StageStatistics()
        self.prefixes = PrefixCache(inbox.limits.prefix_cache_bytes)
        self.speculation = Speculation(settings.speculation)
        self.idle = IdleWork(self.prefixes, self.has_room)
        # Set where kept prompts go to disk too.
        self.kv_files: KvFiles | None = None
        self.warm_queue = WarmQueue(models, self.prefixes, logger)
        self.pace = Pace(inbox.limits.decode_gap_ms / 1000, inbox.limits.prefill_chunk)
        self.riding: Riding | None = None
        self.begun: dict[GenerationRequest, Begun] = {}
        self.placed: set[GenerationRequest] = set()
        # Whether who is next waits for memory, so that nobody else can begin before somebody ends.
        self.lacks_memory = False
        self.failed_in_a_row = 0
        self.last_failure: Exception | None = None

    @property
    def decoding(self) -> int:
        """Requests in the batches."""
        return sum(len(served.batch) for served in self.models)

    @property
    def running(self) -> int:
        """Requests that hold a place."""
        return len(self.placed)

    @property
    def warm(self) -> int:
        """Requests that are prefilled ahead of their place."""
        return sum(1 for request in self.begun if request not in self.placed)

    @property
    def busy_models(self) -> frozenset[str]:
        """Models on which requests run."""
        begun = {begun.served.id for begun in self.begun.values()}
        return frozenset(begun | {served.id for served in self.models if len(served.batch)})

    @property
    def committed_bytes(self) -> int:
        """Memory that the requests which have begun may come to need."""
        return sum(self._committed(served, []) for served in self.models)

    def committed_with(self, request: GenerationRequest, served: ServedModel) -> int:
        """The same with one request more, which may make all others of its model longer."""
        others = sum(self._committed(other, []) for other in self.models if other is not served)
        return others + self._committed(served, [tokens_for(request, served)])

    def _committed(self, served: ServedModel, lengths: list[int]) -> int:
        """A batch holds each of its rows as long as the longest one."""
        lengths += [tokens_for(row.request, served) for row in served.batch.rows]
        lengths += [
            tokens_for(begun.request, served) for begun in self.begun.values() if begun.served is served
        ]
        planned = len(lengths) * max(lengths, default=0) * served.bytes_per_token
        return max(planned, served.batch.nbytes)

    def hold_limit(self) -> None:
        """Gives up what was kept, and what was warmed, as far as the memory limit has no room for it."""
        limit = self.inbox.limits.memory_limit_bytes
        if limit:
            self.make_room(limit - self.models.weight_bytes - self.committed_bytes)

    def has_room(self, nbytes: int) -> bool:
        """Whether the memory limit has room for something more beside requests and what was announced."""
        limit = self.inbox.limits.memory_limit_bytes
        taken = self.models.weight_bytes + self.committed_bytes + self.warm_queue.nbytes
        return not limit or taken + nbytes <= limit

    def make_room(self, free: int) -> int:
        """Has no more than `free` bytes held besides requests: first what is computed in idle time goes, then
        what was announced, then what was kept. Returns how many of them are left; less than 0 is too few.
        """
        if self.idle.nbytes and self.idle.nbytes + self.warm_queue.nbytes > free:
            self.idle.begin_anew()
        if self.warm_queue.nbytes > free:
            self.warm_queue.clear()
        free -= self.idle.nbytes + self.warm_queue.nbytes
        if self.prefixes.nbytes > free:
            self.prefixes.trim(max(0, free))
        return free - self.prefixes.nbytes

    def forget(self, request: GenerationRequest) -> None:
        """It is no longer on its way, and holds no place."""
        self.begun.pop(request, None)
        self.placed.discard(request)

    def forget_model(self, served: ServedModel) -> None:
        """Drops all that was kept for a model that is gone."""
        self.idle.forget(served)
        self.prefixes.drop_model(served.id)
        self.speculation.forget_model(served.id)
        self.warm_queue.forget_model(served.id)
        if self.kv_files is not None:
            self.kv_files.forget_model(served.id)

    def end(self, request: GenerationRequest, error: ServiceError) -> None:
        """Ends one request with an error."""
        self.forget(request)
        self.send([StepResult(request, None, error)])

    def failed(self, requests: list[GenerationRequest], error: Exception) -> None:
        """A pass of the network failed: it ends the requests of that pass."""
        self.failed_in_a_row += 1
        self.last_failure = error
        self.logger.error("a step failed", error, requests=len(requests), in_a_row=self.failed_in_a_row)
        for request in requests:
            self.end(request, ServiceError("STEP_FAILED"))


def most_answer_tokens(request: GenerationRequest, served: ServedModel) -> int:
    """How long its answer may become: what it asks for, as far as the model's context goes."""
    return min(request.options.max_tokens, served.model.context_length - len(request.prompt))


def tokens_for(request: GenerationRequest, served: ServedModel) -> int:
    """Positions of KV that a request may come to need: prompt, answer, and the room that mlx-lm adds."""
    return len(request.prompt) + most_answer_tokens(request, served) + KV_STEP - 1


def bytes_for(request: GenerationRequest, served: ServedModel) -> int:
    """Memory that a request may come to need when it runs alone."""
    return tokens_for(request, served) * served.bytes_per_token
