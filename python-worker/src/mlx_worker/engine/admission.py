"""Who comes in: what is known of each new prompt, who has a place, who is prefilled ahead of one."""

from __future__ import annotations

import time
from collections.abc import Callable

from mlx_worker.engine.answer_text import AnswerText
from mlx_worker.engine.draw import Draw
from mlx_worker.engine.inbox import Entry
from mlx_worker.engine.prefill_job import PrefillJob
from mlx_worker.engine.request import GenerationRequest
from mlx_worker.engine.row import Row, StepResult
from mlx_worker.engine.served_model import ServedModel
from mlx_worker.engine.tool_text import ToolText
from mlx_worker.engine.work import Begun, Work, bytes_for, most_answer_tokens
from mlx_worker.errors import ServiceError
from mlx_worker.sampling import Sampler, SamplingOptions


class Admission:
    """Takes requests out of the queue. Engine's thread only."""

    def __init__(self, work: Work, make_sampler: Callable[[SamplingOptions], Sampler]) -> None:
        self._work = work
        self._make_sampler = make_sampler

    def examine(self) -> None:
        """What is known of each new prompt: it counts as shorter by that."""
        for entry in self._work.inbox.take_unseen():
            request = entry.work
            try:
                served = self._work.models.named(request.model)
            except ServiceError as error:
                if self._work.inbox.take(request):
                    self._work.end(request, error)
                continue
            self._look_at(entry, served)

    def _look_at(self, entry: Entry, served: ServedModel) -> None:
        """Once for each request, also for one that arrives while places are given out."""
        request = entry.work
        if request.examined:
            return
        request.examined = True
        self._work.statistics.warm_queued += request.stages.warm_queue
        self._learn(request, served)
        if request.stages.kv_prep or request.stages.speculation:
            tokens = request.known
            known = self._work.prefixes.known_length(served.can_be_cut, served.id, request.tenant, tokens)
            entry.cost = max(1, len(tokens) - known)

    def _learn(self, request: GenerationRequest, served: ServedModel) -> None:
        if not request.stages.speculation or request.resume:
            return
        if request.allow_speculation:
            self._work.speculation.allow(served.id, request.prompt)
        if self._work.speculation.observe(served.id, request.tenant, request.prompt):
            request.worth_keeping = True

    def give_places(self) -> None:
        """Gives places to those who are next, as long as there are places, and memory.

        When memory is lacking, who was warmed goes first: they have theirs already, and free it by ending.
        """
        while len(self._work.placed) < self._work.inbox.limits.max_batch:
            self._work.lacks_memory = False
            warm = [begun for begun in self._work.begun.values() if begun.request not in self._work.placed]
            first = min(warm, key=lambda begun: self._work.inbox.score(begun.entry), default=None)
            entry = self._work.inbox.best()
            if first is None and entry is None:
                return
            if first is not None and (
                entry is None or self._work.inbox.score(first.entry) <= self._work.inbox.score(entry)
            ):
                self._work.placed.add(first.request)
            elif entry is not None and not self._begin(entry, placed=True):
                self._work.lacks_memory = True
                if first is None:
                    return
                self._work.placed.add(first.request)

    def warm(self) -> None:
        """Begins requests that have no place yet, so that their first token need not wait for one."""
        if not len(self._work.inbox) or self._work.lacks_memory:
            return
        settings, now = self._work.settings.warm_queue, time.monotonic()

        def may_be_warmed(request: GenerationRequest) -> bool:
            return request.stages.warm_queue and (now - request.arrived_at) * 1000 <= settings.ttl_ms

        def found_it_full(request: GenerationRequest) -> bool:
            if may_be_warmed(request) and not request.overflowed:
                request.overflowed = True
                self._work.statistics.warm_overflowed += 1
            return False

        while self._work.warm < settings.max_size:
            entry = self._work.inbox.best(may_be_warmed)
            if entry is None or not self._begin(entry, placed=False):
                return
        self._work.inbox.best(found_it_full)

    def _begin(self, entry: Entry, placed: bool) -> bool:
        """Takes a request out of the queue. False: it must wait for memory."""
        request = entry.work
        try:
            served = self._work.models.named(request.model)
            self._look_at(entry, served)
            if not self._has_memory(request, served):
                return False
            if not self._work.inbox.take(request):
                return True
            row = self._row_for(request, served)
            end = row.replay(request.resume)
        except Exception as error:
            self._work.inbox.take(request)
            self._refuse(request, error)
            return True
        served.used_at = time.monotonic()
        if end is not None:
            self._work.send([StepResult(request, None, end)])
            return True
        job = PrefillJob(served, request.tenant, request.known)
        self._work.begun[request] = Begun(entry, served, row, job)
        if placed:
            self._work.placed.add(request)
            waited = (time.monotonic() - request.arrived_at) * 1000
            if request.stages.warm_queue and waited > self._work.settings.warm_queue.ttl_ms:
                self._work.statistics.warm_expired += 1
        return True

    def _refuse(self, request: GenerationRequest, error: Exception) -> None:
        if isinstance(error, ServiceError):
            self._work.end(request, error)
            return
        self._work.logger.error("a request could not be admitted", error, request_id=request.id)
        self._work.end(request, ServiceError("INTERNAL"))

    def _row_for(self, request: GenerationRequest, served: ServedModel) -> Row:
        model = served.model
        sampler = self._make_sampler(request.options)
        draw = Draw(request.options, sampler, request.constraint, len(request.prompt))
        calls_tools = request.tools and model.tokenizer.has_tool_calling
        tools = ToolText(model.tokenizer, request.tools) if calls_tools else None
        text = AnswerText(model.tokenizer.detokenizer, request.options.stop, tools)
        return Row(
            request=request,
            text=text,
            draw=draw,
            most_tokens=most_answer_tokens(request, served),
            end_tokens=model.end_tokens,
            tokens=list(request.prompt),
        )

    def _has_memory(self, request: GenerationRequest, served: ServedModel) -> bool:
        """Evicts kept prompts for a request. Raises ServiceError when it could not even run alone."""
        limit = self._work.inbox.limits.memory_limit_bytes
        if not limit:
            return True
        weights, needed = self._work.models.weight_bytes, bytes_for(request, served)
        if weights + needed > limit:
            raise ServiceError("MEMORY_LIMIT", needed=needed + weights)
        free = limit - weights - self._work.committed_with(request, served)
        somebody_runs = bool(self._work.begun or self._work.decoding)
        if free < self._work.prefixes.pinned_bytes and somebody_runs:
            # It would not help to give anything up.
            return False
        return self._work.make_room(free) >= 0 or not somebody_runs
