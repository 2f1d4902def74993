"""Reads the runtime configuration, and again whenever the file changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from mlx_worker.accelerator import AcceleratorSettings, read_accelerator
from mlx_worker.logs import Logger

LOOK_EVERY_SECONDS = 1.0


class RuntimeConfig:
    """Without a path the defaults hold. A file that is wrong changes nothing."""

    def __init__(self, path: str, logger: Logger) -> None:
        """Raises ValueError when the file cannot be used at the start."""
        self._path = Path(path) if path else None
        self._logger = logger
        self._changed_at = 0.0
        self.accelerator = AcceleratorSettings()
        if self._path is not None:
            try:
                self._changed_at = self._path.stat().st_mtime
                self.accelerator = read_accelerator(self._path)
            except OSError as error:
                raise ValueError(f"{self._path} cannot be read: {error.strerror}") from error

    async def follow(self, apply: Callable[[AcceleratorSettings], Awaitable[None]]) -> None:
        """Applies each change of the file, until it is cancelled."""
        while self._path is not None:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            await self.look(apply)

    async def look(self, apply: Callable[[AcceleratorSettings], Awaitable[None]]) -> None:
        """Applies the file when it has changed since the last look."""
        assert self._path is not None
        try:
            changed_at = self._path.stat().st_mtime
            if changed_at == self._changed_at:
                return
            self._changed_at = changed_at
            settings = read_accelerator(self._path)
        except (OSError, ValueError) as error:
            self._logger.warn("the runtime configuration cannot be used: nothing changes", reason=str(error))
            return
        if settings != self.accelerator:
            self.accelerator = settings
            await apply(settings)
            self._logger.info("runtime configuration applied", path=str(self._path))
