"""The thread that loads the default model and then runs every request, and its ties to the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from mlx_worker.accelerator import AcceleratorSettings
from mlx_worker.engine.inbox import Inbox
from mlx_worker.engine.kv_files import KvFiles
from mlx_worker.engine.limits import Limits
from mlx_worker.engine.request import GenerationRequest
from mlx_worker.engine.row import StepResult
from mlx_worker.engine.served_model import ModelStore, ServedModel
from mlx_worker.engine.step_loop import StepLoop
from mlx_worker.errors import ServiceError
from mlx_worker.fingerprint import fingerprint_of
from mlx_worker.logs import Logger
from mlx_worker.model import LoadedModel, ModelFiles, read_files
from mlx_worker.sampling import Sampler, SamplingOptions, sampler_for
from mlx_worker.slices import SlicedWork, Slices

# After this many failed steps in a row the fault is not one request's: the process ends and is started anew.
MOST_FAILED_STEPS = 3

Result = TypeVar("Result")


class EngineThread:
    """Admits, cancels and steps in a loop. Its public methods belong to the event loop's thread.

    `loaded` resolves to the model, or to the error that kept it from loading. `stopped` resolves when the
    thread has ended: to None after `stop`, to the error after a fault.
    """

    def __init__(
        self,
        model: str,
        *,
        adapter: str = "",
        limits: Limits,
        logger: Logger,
        settings: AcceleratorSettings | None = None,
        model_bytes: int = 0,
        make_sampler: Callable[[SamplingOptions], Sampler] = sampler_for,
        on_step: Callable[[float], None] = lambda seconds: None,
        kv_dir: str = "",
        kv_dir_bytes: int = 0,
    ) -> None:
        self._model_name, self._adapter = model, adapter
        self._sliced = SlicedWork()
        self._on_step = on_step
        self._logger = logger
        self._loop = asyncio.get_running_loop()
        self._inbox = Inbox(limits)
        self._models = ModelStore(model_bytes, lambda: self.limits.memory_limit_bytes)
        self._steps = StepLoop(
            self._models, self._inbox, settings or AcceleratorSettings(), make_sampler, self._send, logger
        )
        self.work = self._steps.work
        if kv_dir:
            tree = self.work.prefixes.tree
            self.work.kv_files = KvFiles(Path(kv_dir), kv_dir_bytes, tree, logger, self._wake)
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
        rounds = (len(self._inbox) + 1) / self.limits.max_batch
        return self._inbox.put(request, max(100, int(rounds * self._mean_request_seconds * 1000)))

    def cancel(self, request: GenerationRequest) -> None:
        """Ends a request within one step, wherever it is. Does nothing for one that has ended."""
        self._inbox.cancel(request)

    async def call(self, function: Callable[[], Result]) -> Result:
        """Runs a function in the engine's thread, between two steps. Raises what it raises."""
        done: asyncio.Future[Result] = self._loop.create_future()

        def run() -> None:
            try:
                result = function()
            except BaseException as error:
                self._call(fail, done, error)
            else:
                self._call(resolve, done, result)

        self._inbox.command(run)
        return await self._result_of(done)

    async def call_in_slices(self, slices: Slices[Result]) -> Result:
        """Runs long work in the engine's thread, one slice after each step. Raises what it raises."""
        done: asyncio.Future[Result] = self._loop.create_future()

        def begin() -> None:
            self._sliced.add(
                slices,
                lambda result: self._call(resolve, done, result),
                lambda error: self._call(fail, done, error),
            )

        self._inbox.command(begin)
        return await self._result_of(done)

    async def _result_of(self, done: asyncio.Future[Result]) -> Result:
        waiting: set[asyncio.Future[Any]] = {done, self.stopped}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            raise ServiceError("ENGINE_STOPPED")
        return done.result()

    async def stop(self, timeout_seconds: float | None = None) -> bool:
        """Ends what runs with ENGINE_STOPPED, and waits for the thread. False: it has not ended in time."""
        self._deliver([ended(request, "ENGINE_STOPPED") for request in self._inbox.close()])
        if self._thread.ident is None:
            return True
        await asyncio.wait({self.stopped}, timeout=timeout_seconds)
        return self.stopped.done()

    @property
    def limits(self) -> Limits:
        """The limits that hold."""
        return self._inbox.limits

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive() and not self.stopped.done()

    def seconds_in_step(self) -> float:
        """How long the present step, command or slice has taken; 0 between them.

        A long one means that the device is stuck.
        """
        started = self._step_started_at
        return 0.0 if started is None else time.monotonic() - started

    def _run(self) -> None:
        fault: BaseException | None = None
        try:
            self._load_first()
            self._serve()
            self._send([ended(request, "ENGINE_STOPPED") for request in self._steps.clear()])
            if self.work.kv_files is not None:
                self.work.kv_files.save_all()
        except BaseException as error:
            fault = error
        waiting = self._inbox.close()
        self._send([ended(request, "ENGINE_STOPPED") for request in waiting])
        self._call(self._finish, fault)

    def _watched(self, work: Callable[[], None]) -> None:
        """Does some work while `seconds_in_step` tells how long it takes."""
        self._step_started_at = time.monotonic()
        try:
            work()
        finally:
            self._step_started_at = None

    def _serve(self) -> None:
        while not self._inbox.closed:
            for command in self._inbox.take_commands():
                self._watched(command)
            started = self._step_started_at = time.monotonic()
            if self._steps.admit():
                self._steps.step()
                self._on_step(time.monotonic() - started)
                if self.work.failed_in_a_row >= MOST_FAILED_STEPS:
                    self._send([ended(request, "STEP_FAILED") for request in self._steps.clear()])
                    assert self.work.last_failure is not None
                    raise self.work.last_failure
                self._step_started_at = None
            elif self._steps.has_idle_work:
                self._steps.idle_slice()
                self._step_started_at = None
            else:
                self._step_started_at = None
                if not len(self._sliced):
                    self._inbox.wait()
            self._watched(self._sliced.advance)

    def _load_first(self) -> None:
        """Loads the default model, as far as it comes before a stop. Raises what kept it from loading."""
        files = read_files(self._model_name, self._adapter)

        def serve(loaded: tuple[ServedModel, list[str]]) -> None:
            self._call(resolve, self.loaded, loaded[0].model)

        self._sliced.add(self._load(files, True), serve, throw)
        while len(self._sliced) and not self._inbox.closed:
            self._watched(self._sliced.advance)

    def _load(self, files: ModelFiles, pin: bool) -> Slices[tuple[ServedModel, list[str]]]:
        """Loads a model and what was kept of it on disk. Returns it, and who went for it."""
        served, gone = yield from self._models.load(files, pin, lambda: self.work.busy_models)
        yield from self._restore(served.model)
        return served, gone

    def _restore(self, model: LoadedModel) -> Slices[None]:
        """Reads what an earlier process kept on disk for this model."""
        files = self.work.kv_files
        if files is None:
            return
        restored = yield from files.restore(model.id, fingerprint_of(model.network, model.tokenizer))
        self._logger.info("kept prompts read from disk", model=model.id, entries=restored)

    def _wake(self) -> None:
        with suppress(ServiceError):
            self._inbox.command(lambda: None)

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


def resolve(future: asyncio.Future[Result], result: Result) -> None:
    """Gives a result to whoever still waits for it."""
    if not future.done():
        future.set_result(result)


def fail(future: asyncio.Future[Result], error: BaseException) -> None:
    """Gives an error to whoever still waits for a result."""
    if not future.done():
        future.set_exception(error)


def throw(error: BaseException) -> None:
    """Raises an error where a function is wanted."""
    raise error


def ended(request: GenerationRequest, reason: str) -> StepResult:
    """The end of a request by the worker's own doing."""
    return StepResult(request, None, ServiceError(reason))
