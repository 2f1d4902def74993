"""Ends the process when the engine is stuck, since a hung device cannot be unstuck from inside.

It also beats for the supervisor, which kills a process that hangs as a whole, and ends with its supervisor:
without it nobody would start the worker again, and another supervisor would find the ports taken.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping

from mlx_worker.logs import Logger

# The supervisor, launchd and systemd start the worker anew after it.
STUCK_EXIT_CODE = 70
ORPHAN_EXIT_CODE = 71
HEARTBEAT_VARIABLE = "MLX_SERVING_WORKER_HEARTBEAT_FD"
LOOK_EVERY_SECONDS = 0.5


class Watchdog:
    """A thread of its own, so that it runs whatever the engine and the event loop do."""

    def __init__(
        self,
        seconds_in_step: Callable[[], float],
        limit_seconds: float,
        logger: Logger,
        end: Callable[[int], object] = os._exit,
        heartbeat: int | None = None,
    ) -> None:
        """`heartbeat` is the descriptor on which the supervisor listens."""
        self._seconds_in_step = seconds_in_step
        self._limit_seconds = limit_seconds
        self._logger = logger
        self._end = end
        self._heartbeat = heartbeat
        self._stopping = threading.Event()

    def start(self) -> None:
        """Watches from now on. The first beat is at once: from it on the supervisor expects more."""
        self.beat()
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

    def give_up(self, code: int) -> None:
        """Ends the process, since the engine does not end although it was told to."""
        self._logger.error("the engine does not stop: the process ends", exit_code=code)
        self._end(code)

    def beat(self) -> bool:
        """Says to the supervisor that the process runs. False, and the process ends: nobody listens."""
        if self._heartbeat is None:
            return True
        try:
            os.write(self._heartbeat, b".")
        except BlockingIOError:
            # The supervisor is slow to listen: it has enough to go by.
            return True
        except OSError:
            self._logger.error("the supervisor is gone: the process ends")
            self._end(ORPHAN_EXIT_CODE)
            return False
        return True

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_EVERY_SECONDS):
            if self.look() or not self.beat():
                return


def heartbeat_of(environment: Mapping[str, str]) -> int | None:
    """The descriptor that the supervisor has handed over, None without one."""
    text = environment.get(HEARTBEAT_VARIABLE, "")
    if not text:
        return None
    descriptor = int(text)
    os.set_blocking(descriptor, False)
    return descriptor
