"""Limits that a controller lends: they end by themselves, so that one that goes away leaves nothing."""

from __future__ import annotations

import asyncio

from mlx_worker.engine.engine import Engine
from mlx_worker.engine.limits import Limits
from mlx_worker.logs import Logger


class LentLimits:
    """The worker's own limits, and one loan of some of them (SPEC Q3). Used in the event loop."""

    def __init__(self, engine: Engine, logger: Logger) -> None:
        self.own: Limits = engine.limits
        self._engine = engine
        self._logger = logger
        self._lent: dict[str, float] = {}
        self._end: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None

    async def change(self, values: dict[str, float]) -> Limits:
        """Changes the worker's own limits; these are lent no more. Raises ServiceError LIMIT_INVALID."""
        self.own = self.own.changed(**values)
        self._lent = {name: value for name, value in self._lent.items() if name not in values}
        if not self._lent:
            self._forget_end()
        return await self._apply()

    async def lend(self, values: dict[str, float], ttl_ms: int) -> Limits:
        """Lends limits, in place of what was lent before. Raises ServiceError LIMIT_INVALID."""
        self.own.changed(**values)
        self._lent = values
        self._forget_end()
        self._end = asyncio.get_running_loop().call_later(ttl_ms / 1000, self._run_out)
        return await self._apply()

    def stop(self) -> None:
        """Nothing ends by itself any more."""
        self._forget_end()

    async def _apply(self) -> Limits:
        limits = self.own.changed(**self._lent)
        if limits != self._engine.limits:
            await self._engine.set_limits(limits)
            self._logger.info("limits changed", lent=self._lent, **vars(limits))
        return limits

    def _run_out(self) -> None:
        self._lent, self._end = {}, None
        self._logger.info("lent limits ran out")
        self._ending = asyncio.ensure_future(self._return())

    async def _return(self) -> None:
        try:
            await self._apply()
        except Exception as error:
            self._logger.error("the worker's own limits did not come back", error)

    def _forget_end(self) -> None:
        if self._end is not None:
            self._end.cancel()
        self._end = None
