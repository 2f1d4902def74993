"""The engine: one thread that loads the model and runs every request."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import mlx.core as mx

from mlx_worker.engine.batch import Batch, StepResult
from mlx_worker.engine.inbox import Inbox
from mlx_worker.engine.request import GenerationRequest
from mlx_worker.errors import ServiceError
from mlx_worker.logs import Logger
from mlx_worker.model import LoadedModel, load_model
from mlx_worker.sampling import Sampler, SamplingOptions, sampler_for

# After this many failed steps in a row the fault is not one request's: the process ends and is started anew.
MOST_FAILED_STEPS = 3


class Engine:
    """Admits, cancels and steps in a loop. Its public methods belong to the event loop's thread.

    `loaded` resolves to the model, or to the error that kept it from loading. `stopped` resolves when the
    thread has ended: to None after `stop`, to the error after a fault.
    """

    def __init__(
        self,
        model: str,
        *,
        max_queue: int,
        max_batch: int,
        prefill_chunk: int,
        logger: Logger,
        make_sampler: Callable[[SamplingOptions], Sampler] = sampler_for,
        on_step: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._model_name = model
        self._max_batch = max_batch
        self._prefill_chunk = prefill_chunk
        self._make_sampler = make_sampler
        self._on_step = on_step
        self._logger = logger
        self._loop = asyncio.get_running_loop()
        self._inbox = Inbox(max_queue)
        self._running = 0
        self._mean_request_seconds = 0.1
        self._step_started_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.loaded: asyncio.Future[LoadedModel] = self._loop.create_future()
        self.stopped: asyncio.Future[BaseException | None] = self._loop.create_future()

    def start(self) -> None:
        """Starts the thread, which loads the model first."""
        self._thread.start()

    def submit(self, request: GenerationRequest) -> int:
        """Queues a request, returns how many wait before it. Raises ServiceError when it is refused."""
        rounds = (len(self._inbox) + 1) / self._max_batch
        return self._inbox.put(request, max(100, int(rounds * self._mean_request_seconds * 1000)))

    def cancel(self, request: GenerationRequest) -> None:
        """Ends a request within one step, wherever it is. Does nothing for one that has ended."""
        self._inbox.cancel(request)

    async def stop(self) -> None:
        """Ends what runs with ENGINE_STOPPED, and waits for the thread."""
        self._deliver([ended(request, "ENGINE_STOPPED") for request in self._inbox.close()])
        if self._thread.ident is not None:
            await asyncio.shield(self.stopped)

    @property
    def queued(self) -> int:
        """Requests that wait."""
        return len(self._inbox)

    @property
    def running(self) -> int:
        """Requests that are in the batch."""
        return self._running

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def seconds_in_step(self) -> float:
        """How long the present step has taken; 0 between steps. A long one means that the device is stuck."""
        started = self._step_started_at
        return 0.0 if started is None else time.monotonic() - started

    def _run(self) -> None:
        fault: BaseException | None = None
        try:
            model = load_model(self._model_name)
            batch = Batch(model, self._max_batch, self._prefill_chunk, self._make_sampler)
            self._call(self.loaded.set_result, model)
            self._serve(batch)
            self._send([ended(request, "ENGINE_STOPPED") for request in batch.clear()])
        except BaseException as error:
            fault = error
        waiting = self._inbox.close()
        self._send([ended(request, "ENGINE_STOPPED") for request in waiting])
        self._call(self._finish, fault)

    def _serve(self, batch: Batch) -> None:
        failed_steps = 0
        while not self._inbox.closed:
            batch.remove(self._inbox.take_cancelled())
            self._admit(batch)
            self._running = len(batch)
            if not len(batch):
                self._inbox.wait()
                continue
            started = self._step_started_at = time.monotonic()
            try:
                results = batch.step()
                failed_steps = 0
            except Exception as error:
                failed_steps += 1
                self._logger.error("a step failed", error, requests=len(batch), in_a_row=failed_steps)
                results = [ended(request, "STEP_FAILED") for request in batch.clear()]
                if failed_steps >= MOST_FAILED_STEPS:
                    self._send(results)
                    raise
            self._step_started_at = None
            self._running = len(batch)
            self._on_step(time.monotonic() - started)
            self._send(results)

    def _admit(self, batch: Batch) -> None:
        for request in self._inbox.take(batch.free):
            try:
                batch.add(request)
            except Exception as error:
                self._logger.error("a request could not be admitted", error, request_id=request.id)
                self._send([ended(request, "INTERNAL")])

    def _send(self, results: list[StepResult]) -> None:
        if results:
            self._call(self._deliver, results)

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        # The loop is closed only when the process is on its way out.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    def _deliver(self, results: list[StepResult]) -> None:
        for result in results:
            stream = result.request.stream
            if result.token is not None and stream.end is None and not stream.push([result.token]):
                self.cancel(result.request)
                stream.close(ServiceError("READER_TOO_SLOW", tokens=stream.limit))
            if result.end is not None:
                seconds = time.monotonic() - result.request.arrived_at
                self._mean_request_seconds += 0.1 * (seconds - self._mean_request_seconds)
                stream.close(result.end)

    def _finish(self, fault: BaseException | None) -> None:
        if not self.loaded.done():
            self.loaded.set_exception(fault or ServiceError("ENGINE_STOPPED"))
            self.loaded.exception()  # Marked as seen: whoever waits for it still gets it.
        self.stopped.set_result(fault)


def ended(request: GenerationRequest, reason: str) -> StepResult:
    """The end of a request by the worker's own doing."""
    return StepResult(request, None, ServiceError(reason))


def active_memory_bytes() -> int:
    """Memory that MLX has allocated and not yet freed."""
    return int(mx.get_active_memory())
