"""Ends the process when the engine is stuck, since a hung device cannot be unstuck from inside."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from mlx_worker.logs import Logger

# The supervisor, launchd and systemd start the worker anew after it.
STUCK_EXIT_CODE = 70
LOOK_EVERY_SECONDS = 0.5


class Watchdog:
    """A thread of its own, so that it runs whatever the engine and the event loop do."""

    def __init__(
        self,
        seconds_in_step: Callable[[], float],
        limit_seconds: float,
        logger: Logger,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._seconds_in_step = seconds_in_step
        self._limit_seconds = limit_seconds
        self._logger = logger
        self._end = end
        self._stopping = threading.Event()

    def start(self) -> None:
        """Watches from now on."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Watches no longer."""
        self._stopping.set()

    def look(self) -> bool:
        """Ends the process when the engine is stuck. True: it was."""
        seconds = self._seconds_in_step()
        if seconds < self._limit_seconds:
            return False
        self._logger.error("the engine is stuck: the process ends", seconds=round(seconds, 1))
        self._end(STUCK_EXIT_CODE)
        return True

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_EVERY_SECONDS):
            if self.look():
                return
