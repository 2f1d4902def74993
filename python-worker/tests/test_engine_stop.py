"""A stop that cannot be waited for, and a watchdog that sees all that the engine does."""

from __future__ import annotations

import asyncio
import io
import threading
from dataclasses import replace

import pytest
from conftest import GATE_TIMEOUT_SECONDS, running_worker

from mlx_worker.app import App
from mlx_worker.config import WorkerConfig
from mlx_worker.engine import served_model
from mlx_worker.engine.engine import Engine
from mlx_worker.engine.limits import Limits
from mlx_worker.health import Health
from mlx_worker.logs import Logger
from mlx_worker.watchdog import STUCK_EXIT_CODE, Watchdog

# Time passes between two reads of the clock; were nothing measured, it would be 0 for ever.
LOOKS = 100_000


def is_timed(engine: Engine) -> bool:
    return any(engine.seconds_in_step() > 0 for _ in range(LOOKS))


async def test_commands_and_slices_are_timed_as_steps_are():
    async with running_worker() as worker:
        engine = worker.app.engine

        def slices():
            yield
            return is_timed(engine)

        assert await engine.call(lambda: is_timed(engine))
        assert await engine.call_in_slices(slices())
        await worker.until(lambda stats: stats.heartbeat_age_ms == 0)


async def test_a_worker_whose_engine_hangs_in_a_command_is_not_live_and_is_given_up_when_it_stops():
    hung, go_on, exits, logger = threading.Event(), threading.Event(), [], Logger("error", io.StringIO())

    def hang() -> None:
        hung.set()
        assert go_on.wait(GATE_TIMEOUT_SECONDS)

    app = App(WorkerConfig(port=0, metrics_port=0), logger)
    await app.start()
    # Any time at all is too long from now on, and no process ends.
    app.watchdog.stop()
    app.watchdog = Watchdog(app.engine.seconds_in_step, 1e-9, logger, end=exits.append)
    app.config = replace(app.config, stuck_after_ms=0)
    health = Health(app.engine, app.lifecycle, 1e-9)
    hanging = asyncio.ensure_future(app.engine.call(hang))
    await asyncio.to_thread(hung.wait, GATE_TIMEOUT_SECONDS)
    assert (health.live()[0], app.watchdog.look()) == (503, True)
    assert exits == [STUCK_EXIT_CODE]
    await app.stop(0)
    assert exits == [STUCK_EXIT_CODE] * 2
    go_on.set()
    await hanging
    assert await app.engine.stop(GATE_TIMEOUT_SECONDS)


async def test_an_engine_that_is_told_to_stop_while_it_loads_stops_at_the_next_slice(monkeypatch):
    begun, errors = threading.Event(), []

    def endless(*arguments):
        while True:
            begun.set()
            yield

    monkeypatch.setattr(served_model, "load_in_slices", endless)
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
    limits = Limits(2, 64, 50, 4, 1000, 0, 0)
    engine = Engine("tiny", limits=limits, logger=Logger("error", io.StringIO()))
    engine.start()
    await asyncio.to_thread(begun.wait, GATE_TIMEOUT_SECONDS)
    engine.loaded.cancel()
    assert await engine.stop(GATE_TIMEOUT_SECONDS)
    with pytest.raises(asyncio.CancelledError):
        await engine.loaded
    asyncio.get_running_loop().set_exception_handler(None)
    assert errors == []
