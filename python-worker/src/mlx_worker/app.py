"""Composition root: makes every part, starts them, and stops them in order."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from mlx_worker.accelerator import AcceleratorSettings
from mlx_worker.config import WorkerConfig
from mlx_worker.control_service import ControlService
from mlx_worker.engine.engine import Engine
from mlx_worker.engine.limits import Limits
from mlx_worker.fault import faults_of
from mlx_worker.generation.generation_service import GenerationService
from mlx_worker.generation.prepare_service import PrepareService
from mlx_worker.health import Health, OperationsServer
from mlx_worker.input_queue import InputQueue
from mlx_worker.join import GatewayJoin, advertised
from mlx_worker.lent_limits import LentLimits
from mlx_worker.lifecycle import Lifecycle
from mlx_worker.logs import Logger
from mlx_worker.metrics import WorkerMetrics
from mlx_worker.runtime_config import RuntimeConfig
from mlx_worker.sampling import Sampler, SamplingOptions, sampler_for
from mlx_worker.server import GrpcServer, WorkerServicer
from mlx_worker.status_service import StatusService
from mlx_worker.tokenization import Tokenization
from mlx_worker.watchdog import STUCK_EXIT_CODE, Watchdog, heartbeat_of

STOP_GRACE_SECONDS = 1.0
# So long a stop waits for files that are being fetched; what comes after them is given up by itself.
LOADING_STOP_SECONDS = 5.0


class App:
    """A worker. Must be made inside the event loop. Raises OSError when a port is taken."""

    def __init__(
        self,
        config: WorkerConfig,
        logger: Logger,
        make_sampler: Callable[[SamplingOptions], Sampler] = sampler_for,
    ) -> None:
        self.config = config
        self.logger = logger
        self.lifecycle = Lifecycle()
        self._following: asyncio.Future[None] | None = None
        self.metrics = WorkerMetrics()
        settings = RuntimeConfig(config.runtime_config, logger)
        self.engine = Engine(
            config.model,
            adapter=config.adapter,
            limits=limits_of(config),
            settings=settings.accelerator,
            model_bytes=config.model_bytes,
            kv_dir=config.kv_dir,
            kv_dir_bytes=config.kv_dir_bytes,
            logger=logger,
            make_sampler=make_sampler,
            on_step=self.metrics.on_step,
        )
        # As many as could have a place or wait for one.
        self.inputs = InputQueue(lambda: self.engine.limits.max_queue + self.engine.limits.max_batch)
        self._tokenization = Tokenization(self.inputs)
        self.prepare = PrepareService(self.engine, self._tokenization, self.lifecycle, settings.accelerator)
        self.generation = GenerationService(
            self.engine,
            self._tokenization,
            self.lifecycle,
            self.metrics,
            logger,
            config.max_pending_tokens,
            self.prepare,
            self.inputs,
        )
        self.generation.accelerator = settings.accelerator
        self._settings = settings
        status = StatusService(
            config.worker_id,
            self.engine,
            self.prepare,
            self._tokenization,
            self.lifecycle,
            self.metrics,
            self._not_serving,
        )
        self._limits = LentLimits(self.engine, logger)
        control = ControlService(self.engine, self._limits, self._tokenization, self.lifecycle, logger)
        self.health = Health(self.engine, self.lifecycle, config.stuck_after_ms / 1000)
        self.watchdog = Watchdog(
            self.engine.seconds_in_step,
            config.stuck_after_ms / 1000,
            logger,
            heartbeat=heartbeat_of(os.environ),
        )
        self.operations = OperationsServer(
            config.host, config.metrics_port, self.health, self.metrics.registry
        )
        faults = faults_of(config.worker_id, logger, self.engine.stand_still)
        self.server = GrpcServer(
            WorkerServicer(self.generation, self.prepare, status, control, faults),
            config.host,
            config.port,
        )
        self._join = GatewayJoin(
            [gateway for gateway in config.join.split(",") if gateway],
            config.advertise or advertised(config.host, self.server.port),
            config.join_variant,
            config.join_token,
            lambda: self.lifecycle.serving,
            logger,
        )

    async def start(self) -> None:
        """Opens the ports, loads the model, then serves. Raises what kept the model from loading."""
        self.operations.start()
        await self.server.start()
        self.engine.start()
        self.lifecycle.model = await self.engine.loaded
        self._following = asyncio.ensure_future(self._settings.follow(self._configure))
        self.watchdog.start()
        await self.server.set_serving(True)
        self._join.start()
        self.logger.info(
            "serving",
            model=self.lifecycle.model.id,
            parameters=self.lifecycle.model.parameters,
            port=self.server.port,
            metrics_port=self.operations.port,
        )

    async def stop(self, drain_seconds: float) -> int:
        """Drains, ends what is left, closes the ports. Returns how many streams were cut off.

        An engine that does not end by itself is given up, with the process.
        """
        self.lifecycle.draining = True
        await self._not_serving()
        await self._join.leave()
        remaining = await self.lifecycle.drain(drain_seconds)
        self.lifecycle.stopping.set()
        self._limits.stop()
        loading = self.lifecycle.model is None
        patience = LOADING_STOP_SECONDS if loading else self.config.stuck_after_ms / 1000
        ended = await self.engine.stop(patience)
        await self.server.stop(STOP_GRACE_SECONDS)
        if self._following is not None:
            self._following.cancel()
        self.operations.stop()
        self._tokenization.close()
        self.watchdog.stop()
        if not ended:
            self.watchdog.give_up(0 if loading else STUCK_EXIT_CODE)
        return remaining

    async def _configure(self, settings: AcceleratorSettings) -> None:
        self.generation.accelerator = self.prepare.accelerator = settings
        await self.engine.configure(settings)

    async def _not_serving(self) -> None:
        await self.server.set_serving(False)


def limits_of(config: WorkerConfig) -> Limits:
    """The limits that hold until SetLimits changes them."""
    return Limits(
        max_batch=config.max_batch,
        prefill_chunk=config.prefill_chunk,
        decode_gap_ms=config.decode_gap_ms,
        max_queue=config.max_queue,
        max_queue_tokens=config.max_queue_tokens,
        memory_limit_bytes=config.memory_limit_bytes,
        prefix_cache_bytes=config.prefix_cache_bytes,
    )


async def run(config: WorkerConfig, logger: Logger) -> int:
    """Serves until SIGTERM, SIGINT or the end of the engine. Returns the exit code."""
    try:
        app = App(config, logger)
    except OSError as error:
        sys.stderr.write(f"mlx-worker: cannot listen on {config.host}: {error}\n")
        return 1
    except ValueError as error:
        sys.stderr.write(f"mlx-worker: the runtime configuration cannot be used: {error}\n")
        return 1
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, told_to_stop.set)
    start: asyncio.Future[None] = asyncio.ensure_future(app.start())
    end: set[asyncio.Future[Any]] = {asyncio.ensure_future(told_to_stop.wait()), app.engine.stopped}
    await asyncio.wait({start, *end}, return_when=asyncio.FIRST_COMPLETED)
    if start.done() and start.exception() is None:
        await asyncio.wait(end, return_when=asyncio.FIRST_COMPLETED)
    return await shut_down(app, start, told_to_stop.is_set())


async def shut_down(app: App, start: asyncio.Future[None], told_to_stop: bool) -> int:
    """Stops the app, gently when it was told to. Returns the exit code."""
    if told_to_stop:
        start.cancel()
        remaining = await app.stop(app.config.drain_timeout_ms / 1000)
        app.logger.info("stopped", cut_off_streams=remaining)
        return 0
    fault = app.engine.stopped.result() if app.engine.stopped.done() else start.exception()
    what = "the model could not be loaded" if app.lifecycle.model is None else "the engine ended"
    app.logger.error(f"{what}: {fault}", fault, model=app.config.model)
    await app.stop(0)
    return 1


def serve(config: WorkerConfig, warning: str | None) -> int:
    """Runs a worker in this process. `warning` is logged first. Returns the exit code."""
    logger = Logger(config.log_level, worker_id=config.worker_id)
    if warning is not None:
        logger.warn(warning)
    return asyncio.run(run(config, logger))
